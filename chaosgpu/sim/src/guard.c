/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
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

static struct kept {
    int fd;
    dev_t device;
    ino_t inode;
} kept[MAX_GPUS + 1];
static int kept_count;

/* Held open on purpose, as the driver's clients do: whoever looks for holders in /proc finds us. */
static void remember(int fd)
{
    struct stat node;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 200);
    if (high < 0)
        high = fd;
    else
        close(fd);
    if (kept_count == MAX_GPUS + 1 || fstat(high, &node) != 0) {
        close(high);
        return;
    }
    kept[kept_count++] = (struct kept){high, node.st_dev, node.st_ino};
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
    remember(fd);
    return 0;
}

void guard_close_nodes(void)
{
    struct stat now;
    while (kept_count > 0) {
        struct kept *node = &kept[--kept_count];
        /* A program that closed all its descriptors may have given the number to another file. */
        if (fstat(node->fd, &now) == 0 && now.st_dev == node->device && now.st_ino == node->inode)
            close(node->fd);
    }
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
