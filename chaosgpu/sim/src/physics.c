/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "physics.h"

#include <math.h>
#include <string.h>

#include "clients.h"
#include "events.h"

#define POWER_EXPONENT 2.4      /* dynamic power over clock: voltage falls with it */
#define UTILIZATION_TAU_S 0.25  /* the device's counter looks back between 1/6 s and 1 s */
#define HW_THERMAL_FACTOR 0.5   /* the hardware halves the clock */
#define STEP_S 0.25
#define MAX_STEPS 400
#define BAND_CELSIUS 3.0        /* software slowdown steers the clock over the last degrees below the limit */
#define GAIN_PER_CELSIUS 0.1    /* share of the clock that it gives up for each of them */

struct step {
    uint64_t sm_mhz;
    uint64_t reasons;
    double power_mw;
};

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

static uint64_t on_grid(const struct gpu *gpu, double mhz)
{
    uint64_t step = gpu->sm_step_mhz ? gpu->sm_step_mhz : 1;
    double low = clamp(mhz, (double)gpu->sm_min_mhz, (double)gpu->sm_max_mhz);
    return gpu->sm_min_mhz + (uint64_t)(low - (double)gpu->sm_min_mhz) / step * step;
}

static double power_at(const struct gpu *gpu, double mhz, double load)
{
    double swing = (double)gpu->power_load_mw - (double)gpu->power_idle_mw;
    return (double)gpu->power_idle_mw + swing * load * pow(mhz / (double)gpu->sm_max_mhz, POWER_EXPONENT);
}

/* The clock that every limit allows, and which limits bind. */
static struct step decide(const struct gpu *gpu, double load, double celsius)
{
    struct step step = {0};
    double mhz = (double)(load > 0 ? gpu->sm_max_mhz : gpu->sm_idle_mhz);
    if (load <= 0)
        step.reasons |= REASON_IDLE;
    if (gpu->sm_lock_max_mhz) {
        double locked = clamp(mhz, (double)gpu->sm_lock_min_mhz, (double)gpu->sm_lock_max_mhz);
        step.reasons |= REASON_LOCKED_CLOCKS;
        mhz = locked;
    }
    if (load > 0 && power_at(gpu, mhz, 1.0) > (double)gpu->power_limit_mw) {
        double swing = (double)gpu->power_load_mw - (double)gpu->power_idle_mw;
        double room = clamp((double)gpu->power_limit_mw - (double)gpu->power_idle_mw, 0, swing);
        mhz = (double)gpu->sm_max_mhz * pow(room / swing, 1 / POWER_EXPONENT);
        step.reasons |= REASON_SW_POWER_CAP;
    }
    double limit = gpu->acoustic_celsius ? (double)gpu->acoustic_celsius : (double)gpu->gpu_max_celsius;
    if (gpu->gpu_max_celsius && (double)gpu->gpu_max_celsius < limit)
        limit = (double)gpu->gpu_max_celsius;
    if (limit > 0 && celsius >= limit - BAND_CELSIUS && load > 0) {
        mhz *= clamp(1 - GAIN_PER_CELSIUS * (celsius - limit + BAND_CELSIUS), 0.2, 1);
        step.reasons |= REASON_SW_THERMAL;
    }
    if (gpu->slowdown_celsius && celsius >= (double)gpu->slowdown_celsius)
        step.reasons |= REASON_HW_THERMAL | REASON_HW_SLOWDOWN;
    step.reasons |= gpu->forced_event_reasons;
    if (step.reasons & (REASON_HW_SLOWDOWN | REASON_HW_THERMAL | REASON_POWER_BRAKE))
        mhz *= HW_THERMAL_FACTOR;
    step.sm_mhz = on_grid(gpu, mhz);
    step.power_mw = power_at(gpu, (double)step.sm_mhz, load > 0 ? load : 0);
    if (gpu->power_mw >= 0)
        step.power_mw = (double)gpu->power_mw;
    return step;
}

static void count_violations(struct physics *at, uint64_t reasons, double ns)
{
    static const uint64_t bits[POLICIES] = {
        [POLICY_POWER] = REASON_SW_POWER_CAP,
        [POLICY_SW_THERMAL] = REASON_SW_THERMAL,
        [POLICY_HW_THERMAL] = REASON_HW_THERMAL,
        [POLICY_POWER_BRAKE] = REASON_POWER_BRAKE,
    };
    for (int i = 0; i < POLICIES; i++)
        if (reasons & bits[i])
            at->violation_ns[i] += ns;
}

/* Keep the samples of a stretch of time with one load. */
static void sample_load(struct physics *at, uint64_t until_ns, double load)
{
    uint64_t from = at->at_ns, kept_ns = LOAD_SAMPLES * LOAD_PERIOD_NS;
    if (from + kept_ns < until_ns && at->period_load_ns == 0)
        from = until_ns - kept_ns;
    while (from < until_ns) {
        uint64_t end = (from / LOAD_PERIOD_NS + 1) * LOAD_PERIOD_NS;
        uint64_t to = end < until_ns ? end : until_ns;
        at->period_load_ns += load * (double)(to - from);
        if (to == end) {
            if (at->period_load_ns > 0)
                at->loads[at->load_head++ % LOAD_SAMPLES] = (struct load_sample){end, at->period_load_ns / LOAD_PERIOD_NS};
            at->period_load_ns = 0;
            if (load <= 0)
                return;
        }
        from = to;
    }
}

/* A stretch of time with one load. */
static void integrate(const struct gpu *gpu, struct physics *at, uint64_t until_ns, double load, double speed)
{
    sample_load(at, until_ns, load);
    double left_s = (double)(until_ns - at->at_ns) / 1e9;
    double swing_celsius = (double)gpu->full_load_celsius - 25;
    double resistance = swing_celsius / ((double)gpu->power_default_mw > 0 ? (double)gpu->power_default_mw : 1);
    double tau_s = gpu->thermal_tau_s ? (double)gpu->thermal_tau_s : 1;
    double step_s = clamp(left_s / MAX_STEPS, STEP_S / (speed > 1 ? speed : 1), 60);
    while (left_s > 0) {
        double dt = left_s < step_s ? left_s : step_s;
        struct step step = decide(gpu, load, at->celsius);
        double target = (double)gpu->ambient_celsius + resistance * step.power_mw;
        at->celsius = target + (at->celsius - target) * exp(-dt * speed / tau_s);
        if (gpu->temperature_celsius >= 0)
            at->celsius = (double)gpu->temperature_celsius;
        at->utilization = load + (at->utilization - load) * exp(-dt * speed / UTILIZATION_TAU_S);
        at->power_mw = step.power_mw;
        at->energy_mj += step.power_mw * dt;
        at->sm_mhz = step.sm_mhz;
        at->event_reasons = step.reasons;
        count_violations(at, step.reasons, dt * 1e9);
        left_s -= dt;
    }
    at->at_ns = until_ns;
}

static uint64_t busy_until(int gpu, uint64_t since)
{
    struct state *state = session.state;
    uint64_t latest = 0;
    for (int slot = 0; slot < (int)state->clients_high; slot++) {
        uint64_t until = LOAD(state->clients[slot].gpus[gpu].busy_until_ns);
        if (until > latest && until > since && LOAD(state->clients[slot].used) && client_lives(slot))
            latest = until;
    }
    return latest;
}

struct physics physics_now(int index)
{
    struct gpu *gpu = &session.state->gpus[index];
    struct physics at = gpu->physics[gpu->physics_now & 1];
    uint64_t now = monotonic_ns();
    double speed = session.state->physics_speed > 0 ? session.state->physics_speed : 1;
    if (at.at_ns == 0 || at.at_ns > now) { /* first look, or a state file of an earlier boot */
        at.at_ns = now;
        at.period_load_ns = 0;
        at.load_head = 0;
        at.celsius = (double)gpu->ambient_celsius
                     + ((double)gpu->full_load_celsius - 25) * (double)gpu->power_idle_mw / (double)gpu->power_default_mw;
    }
    double forced = gpu->utilization_percent >= 0 ? (double)gpu->utilization_percent / 100 : -1;
    uint64_t busy = busy_until(index, at.at_ns);
    if (forced >= 0) {
        integrate(gpu, &at, now, forced, speed);
        at.utilization = forced;
    } else {
        if (busy > at.at_ns)
            integrate(gpu, &at, busy < now ? busy : now, 1.0, speed);
        integrate(gpu, &at, now, 0.0, speed);
    }
    at.busy = forced >= 0 ? forced > 0 : busy >= now;
    /* The clock does not fall between two kernels of one burst. */
    double present = forced >= 0 ? forced : at.utilization > 0.05 || at.busy ? 1.0 : 0.0;
    if (gpu->temperature_celsius >= 0)
        at.celsius = (double)gpu->temperature_celsius;
    struct step step = decide(gpu, present, at.celsius);
    at.sm_mhz = step.sm_mhz;
    at.event_reasons = step.reasons;
    at.power_mw = gpu->power_mw >= 0 ? (double)gpu->power_mw : power_at(gpu, (double)step.sm_mhz, at.utilization);
    gpu->physics[(gpu->physics_now & 1) ^ 1] = at; /* whole before it counts: a death in between changes nothing */
    STORE(gpu->physics_now, (gpu->physics_now & 1) ^ 1);
    if (gpu->shutdown_celsius && at.celsius >= (double)gpu->shutdown_celsius && !gpu->lost) {
        STORE(gpu->lost, 1);
        event_xid(index, 79, 0, "");
    }
    return at;
}

struct physics physics_read(int gpu)
{
    state_lock();
    struct physics now = physics_now(gpu);
    state_unlock();
    return now;
}

uint64_t physics_load_mhz(int index)
{
    struct physics now = physics_now(index);
    return decide(&session.state->gpus[index], 1.0, now.celsius).sm_mhz;
}

void physics_reset(int index)
{
    struct gpu *gpu = &session.state->gpus[index];
    struct physics cold;
    memset(&cold, 0, sizeof cold);
    gpu->physics[(gpu->physics_now & 1) ^ 1] = cold;
    STORE(gpu->physics_now, (gpu->physics_now & 1) ^ 1);
}

uint64_t physics_memory_mhz(const struct gpu *gpu, const struct physics *now)
{
    uint64_t mhz = now->event_reasons & REASON_IDLE ? gpu->memory_idle_mhz : gpu->memory_clocks_mhz[0];
    if (gpu->memory_lock_max_mhz && mhz > gpu->memory_lock_max_mhz)
        mhz = gpu->memory_lock_max_mhz;
    if (gpu->memory_lock_max_mhz && mhz < gpu->memory_lock_min_mhz)
        mhz = gpu->memory_lock_min_mhz;
    return mhz;
}
