/* SPDX-License-Identifier: Apache-2.0 */
/* The toggle: one line in a file, looked at again at most every millisecond, and a count of what was made to fail.
 *
 * Whatever is not exactly as the agent writes it, or cannot be read, means that calls go through. So does the
 * deadline in it, by the clock that counts since boot: nobody has to come back for that. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "toggle.h"

enum { LONGEST = 160, EVERY_NS = 1000000, MOST_COUNTED = 1 << 20 };

static char toggle_path[PATH_MAX], count_path[PATH_MAX];
static atomic_ullong look_again_ns, until_ns; /* until_ns 0: off */
static atomic_uint code_now, groups_now, every_now;
static atomic_uint calls, poisoned;

__attribute__((constructor)) static void find(void)
{
    const char *folder = getenv("CHAOSGPU_CUDA_ERRORS");
    if (folder == NULL || folder[0] != '/' || strlen(folder) > sizeof toggle_path - sizeof "/toggle")
        return;
    snprintf(count_path, sizeof count_path, "%s/failed", folder);
    snprintf(toggle_path, sizeof toggle_path, "%s/toggle", folder);
}

static unsigned long long now_ns(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0)
        return ULLONG_MAX; /* an unknown time is after every deadline */
    return (unsigned long long)now.tv_sec * 1000000000ULL + (unsigned long long)now.tv_nsec;
}

/* Read the whole file: its length, or -1 where it is no plain file that we may read. */
static ssize_t read_all(char *text, size_t room)
{
    struct stat about;
    int file = open(toggle_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0)
        return -1;
    ssize_t got = fstat(file, &about) == 0 && S_ISREG(about.st_mode) ? read(file, text, room) : -1;
    close(file);
    return got;
}

static void look(void)
{
    char text[LONGEST + 1];
    unsigned code, groups, every;
    unsigned long long until;
    int used = 0;
    ssize_t got = read_all(text, LONGEST);
    text[got > 0 ? got : 0] = '\0';
    int fields = sscanf(text, "chaosgpu-cuda-errors 1 code %u groups %u every %u until_ns %llu end%n", &code,
                        &groups, &every, &until, &used);
    if (fields == 4 && used + 1 == got && text[used] == '\n' && code > 0 && code < 10000 && every > 0) {
        atomic_store(&code_now, code);
        atomic_store(&groups_now, groups);
        atomic_store(&every_now, every);
        atomic_store(&until_ns, until);
    } else {
        atomic_store(&until_ns, 0);
        atomic_store(&poisoned, 0);
        atomic_store(&calls, 0);
    }
}

/* Note one failed call as one byte more; 0 where it could not be noted. Beyond the most it is not counted any more. */
static int count(enum group group)
{
    static const char letters[] = "alcs";
    struct stat about;
    int file = open(count_path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0)
        return 0;
    int noted = fstat(file, &about) == 0 && S_ISREG(about.st_mode);
    if (noted && about.st_size < MOST_COUNTED)
        noted = write(file, &letters[group], 1) == 1;
    close(file);
    return noted;
}

/* After these the real driver gives the same answer to every later call of the process. */
static int sticky(unsigned code)
{
    return code == 214 || code == 700 || code == 702 || code == 710 || (code >= 714 && code <= 719);
}

static int decide(enum group group)
{
    unsigned long long now = now_ns(), due = atomic_load(&look_again_ns);
    if (now >= due && atomic_compare_exchange_strong(&look_again_ns, &due, now + EVERY_NS))
        look();
    if (now >= atomic_load(&until_ns) || !(atomic_load(&groups_now) & (1u << group)))
        return 0;
    unsigned code = atomic_load(&code_now);
    unsigned number = atomic_fetch_add(&calls, 1) + 1;
    if (number % atomic_load(&every_now) != 0 && !atomic_load(&poisoned))
        return 0;
    if (!count(group)) /* what cannot be counted does not happen: nobody could tell it from a fault of the GPU */
        return 0;
    if (sticky(code))
        atomic_store(&poisoned, 1);
    return (int)code;
}

int toggle_verdict(enum group group)
{
    if (toggle_path[0] == '\0')
        return 0;
    int before = errno;
    int code = decide(group);
    errno = before;
    return code;
}
