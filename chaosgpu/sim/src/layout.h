/* SPDX-License-Identifier: Apache-2.0 */
/* The shared state file, mapped by every process that uses the simulated GPUs.
 *
 * A process may be killed between any two instructions. So nothing is stored twice: totals are sums over the clients
 * that live, and whatever must change together is written to a spare copy and published with one store. */
#ifndef CHAOSGPU_LAYOUT_H
#define CHAOSGPU_LAYOUT_H

#include <stdint.h>

#include "fields.h"
#include "functions.h"

#define STATE_MAGIC 0x55504753534f4143ULL /* "CAOSSGPU" */
#define STATE_VERSION 2
#define MAX_GPUS 16
#define MAX_CLIENTS 512
#define MAX_EVENTS 256
#define MAX_LINKS 18
#define MAX_MEMORY_LIMITS 8
#define LOAD_SAMPLES 90 /* of the driver's buffer of load, at one each sixth of a second: 15 s of load */
#define MIB (1024ULL * 1024ULL)
#define IGNORED 0xFFFF /* as a forced return code: the call says that it succeeded and does nothing */
#define GRANULE (2 * MIB) /* device memory is handed out in blocks of 2 MiB */

/* Byte ranges of the file that serve as kernel locks; they lie behind the data. */
#define LOCK_BASE (1LL << 40)
#define LOCK_STATE LOCK_BASE
#define LOCK_CLIENT(slot) (LOCK_BASE + 1 + (slot))

enum { POLICY_POWER, POLICY_SW_THERMAL, POLICY_HW_THERMAL, POLICY_POWER_BRAKE, POLICIES };

/* How busy the GPU was for a sixth of a second that ended then; what was idle throughout is not kept. */
struct load_sample {
    uint64_t end_ns;
    double load;
};

/* What load, power and heat have become up to `at_ns`; integrated when somebody looks. */
struct physics {
    uint64_t at_ns;
    double utilization; /* 0 to 1, smoothed as the device's own counter is */
    double power_mw;
    double celsius;
    double energy_mj;
    double violation_ns[POLICIES];
    uint64_t sm_mhz;
    uint64_t event_reasons;
    uint64_t busy; /* a kernel ran at `at_ns` */
    double period_load_ns; /* how much of the present sixth was busy so far */
    uint64_t load_head;    /* number of samples so far */
    struct load_sample loads[LOAD_SAMPLES];
};

struct memory_limit {
    uint64_t used; /* set last, cleared first */
    uint64_t soft;
    uint64_t hard;
    char cgroup[512];
};

#define AS_U(name, kind) uint64_t name;
#define AS_I(name, kind) int64_t name;
#define AS_D(name, kind) double name;
#define AS_S(name, bytes, kind) char name[((bytes) + 7) / 8 * 8];
#define AS_A(name, words, kind) uint64_t name[words];

struct gpu {
    GPU_FIELDS(AS_U, AS_I, AS_D, AS_S, AS_A)
    struct physics physics[2];
    uint64_t physics_now; /* which of the two counts */
    struct memory_limit limits[MAX_MEMORY_LIMITS];
    uint16_t not_supported[FN_COUNT]; /* by product */
    uint16_t forced[FN_COUNT];        /* a return code on request, 0 for none */
};

struct usage {
    uint64_t context_bytes;
    uint64_t allocated_bytes;
    uint64_t busy_until_ns;
    uint64_t busy_ns; /* time of its kernels so far, for the per-process counter */
};

enum { CLIENT_NVML = 1, CLIENT_CUDA = 2 };

struct client {
    uint64_t used; /* set last, cleared first; a client lives while the kernel holds its lock */
    uint64_t kind;
    int64_t pid;
    char name[256];
    char cgroup[512];
    struct usage gpus[MAX_GPUS];
};

struct event {
    uint64_t sequence;
    uint64_t gpu;
    uint64_t type;
    uint64_t data;
};

struct state {
    uint64_t magic;
    uint64_t version;
    uint64_t size;
    uint64_t generation; /* grows with every change of a setting */
    uint64_t gpu_count;
    uint64_t had_clients; /* settings of GPUs without persistence go when this falls to zero */
    SYSTEM_FIELDS(AS_U, AS_I, AS_D, AS_S, AS_A)
    uint32_t hang_ms[FN_COUNT];
    uint16_t forced[FN_COUNT];
    uint32_t event_wakeup; /* futex word */
    uint64_t event_head;   /* number of events so far */
    struct event events[MAX_EVENTS];
    struct gpu gpus[MAX_GPUS];
    uint64_t clients_high; /* slots at and above it were never used */
    struct client clients[MAX_CLIENTS];
};

#undef AS_U
#undef AS_I
#undef AS_D
#undef AS_S
#undef AS_A

#endif
