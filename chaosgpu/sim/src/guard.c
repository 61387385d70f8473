/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

void guard_hang(enum function function)
{
    uint64_t started = 0;
    uint32_t hang_ms;
    while ((hang_ms = LOAD(session.state->hang_ms[function])) != 0) {
        uint64_t now = monotonic_ns();
        if (started == 0)
            started = now;
        if (now - started >= hang_ms * 1000000ULL)
            return;
        sleep_until(now + 5000000ULL); /* short naps, so that a cleared hang ends at once */
    }
}

int guard_is_root(void)
{
    int64_t said = LOAD(session.state->simulated_root);
    return said < 0 ? geteuid() == 0 : said != 0;
}

int guard_open_node(const char *node, int keep)
{
    const char *folder = session.state->device_nodes;
    char path[640];
    if (folder[0] == '\0')
        return 0;
    snprintf(path, sizeof path, "%s/%s", folder, node);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno;
    if (!keep) {
        close(fd);
        return 0;
    }
    /* Held open on purpose, as the driver's clients do: whoever looks for holders in /proc finds us. */
    if (fcntl(fd, F_DUPFD_CLOEXEC, 200) >= 0)
        close(fd);
    return 0;
}

int guard_open_gpu_node(int gpu, int keep)
{
    char node[32];
    snprintf(node, sizeof node, "nvidia%llu", (unsigned long long)session.state->gpus[gpu].minor_number);
    return guard_open_node(node, keep);
}

const char *guard_instance(void)
{
    return session_open() == 0 ? session.state->instance : "";
}
