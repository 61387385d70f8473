/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FIRST_FD 200            /* out of the way of programs that close or reuse low descriptors */
#define STUCK_NS 1000000000ULL  /* a holder is inside for microseconds; after this long it has been stopped */

struct session session = {.state = NULL, .lock_fd = -1, .slot = -1};

static pthread_mutex_t threads = PTHREAD_MUTEX_INITIALIZER; /* file locks do not part the threads of one process */
static int holding;
static int holder_is_stopped;

const char *library_version(void)
{
#ifdef LIBRARY_VERSION
    return LIBRARY_VERSION;
#else
    return session.state->driver_version;
#endif
}

uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

void sleep_until(uint64_t deadline_ns)
{
    struct timespec until = {(time_t)(deadline_ns / 1000000000ULL), (long)(deadline_ns % 1000000000ULL)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}

static int open_high(const char *path)
{
    int low = open(path, O_RDWR | O_CLOEXEC);
    if (low < 0)
        return -1;
    int high = fcntl(low, F_DUPFD_CLOEXEC, FIRST_FD);
    if (high < 0)
        return low;
    close(low);
    return high;
}

void session_forget(void)
{
    /* Our copy stays open, as the real driver's does: what the parent held is held until we have ended, too, or have
     * become another program. */
    session.lock_fd = -1;
    session.slot = -1;
    holding = 0;
    holder_is_stopped = 0;
    pthread_mutex_init(&threads, NULL);
}

static char opened_path[4096];

int session_open_path(const char *path)
{
    if (session.state != NULL && session.lock_fd >= 0)
        return 0;
    if (strlen(path) >= sizeof opened_path)
        return -1;
    if (session.state == NULL) {
        /* The mapping has its own open file: a mapping outlives its descriptor, and would keep the locks of a shared one. */
        int fd = open_high(path);
        if (fd < 0)
            return -1;
        struct stat file;
        void *mapped = MAP_FAILED;
        if (fstat(fd, &file) == 0 && (size_t)file.st_size >= sizeof(struct state))
            mapped = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        if (mapped == MAP_FAILED)
            return -1;
        struct state *state = mapped;
        if (LOAD(state->magic) != STATE_MAGIC || state->version != STATE_VERSION
            || state->size != sizeof(struct state)) {
            munmap(mapped, sizeof(struct state));
            return -1;
        }
        session.state = state;
        strcpy(opened_path, path);
    }
    session.lock_fd = open_high(opened_path);
    if (session.lock_fd < 0)
        return -1;
    return 0;
}

int session_open(void)
{
    if (session.state != NULL && session.lock_fd >= 0)
        return 0;
    if (session.state != NULL)
        return session_open_path(opened_path);
    const char *path = getenv("CHAOSGPU_SIM_STATE");
    if (path == NULL || path[0] == '\0')
        return -1;
    return session_open_path(path);
}

static int try_lock(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_STATE, .l_len = 1};
    return fcntl(session.lock_fd, F_OFD_SETLK, &lock) == 0 || (errno != EAGAIN && errno != EACCES && errno != EINTR);
}

void state_lock(void)
{
    pthread_mutex_lock(&threads);
    holding = 0;
    if (try_lock()) {
        holding = 1;
        holder_is_stopped = 0;
        return;
    }
    /* A real driver's locks are in the kernel, where SIGSTOP does not stop their holder: a process stopped in here
     * must not stop the others either. Each store leaves the state valid, so going on without the lock is safe. */
    if (holder_is_stopped)
        return;
    uint64_t give_up = monotonic_ns() + STUCK_NS;
    for (unsigned tries = 0;; tries++) {
        if (tries < 20) {
            sched_yield();
        } else {
            struct timespec pause = {0, tries < 100 ? 20000 : 500000};
            nanosleep(&pause, NULL);
        }
        if (try_lock()) {
            holding = 1;
            return;
        }
        if (monotonic_ns() > give_up) {
            holder_is_stopped = 1;
            return;
        }
    }
}

void state_unlock(void)
{
    if (holding) {
        struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = LOCK_STATE, .l_len = 1};
        fcntl(session.lock_fd, F_OFD_SETLK, &lock);
        holding = 0;
    }
    pthread_mutex_unlock(&threads);
}

void state_changed(void)
{
    __atomic_add_fetch(&session.state->generation, 1, __ATOMIC_ACQ_REL);
}
