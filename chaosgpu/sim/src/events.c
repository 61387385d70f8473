/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "events.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

void event_post(int gpu, uint64_t type, uint64_t data)
{
    struct state *state = session.state;
    uint64_t sequence = state->event_head;
    struct event *event = &state->events[sequence % MAX_EVENTS];
    event->sequence = sequence;
    event->gpu = (uint64_t)gpu;
    event->type = type;
    event->data = data;
    STORE(state->event_head, sequence + 1); /* an event counts once it is whole */
    __atomic_add_fetch(&state->event_wakeup, 1, __ATOMIC_ACQ_REL);
    syscall(SYS_futex, &state->event_wakeup, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* The texts of the driver's own lines, for the Xids that a program most likely looks for. */
static const char *xid_text(unsigned xid)
{
    switch (xid) {
    case 13:
        return "Graphics SM Warp Exception on (GPC 0, TPC 0, SM 0): Out Of Range Address";
    case 31:
        return "Ch 00000008, intr 00000000. MMU Fault: ENGINE GRAPHICS GPC0 GPCCLIENT_T1_0 faulted @ 0x7f00_00000000. "
               "Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_WRITE";
    case 43:
        return "Ch 00000008, engmask 00000101";
    case 45:
        return "Ch 00000008, engmask 00000101";
    case 48:
        return "DBE (double bit error) ECC Error on GPU (Ch 00, Bank 00)";
    case 63:
        return "Row Remapper: New row marked for remapping, reset gpu to activate.";
    case 64:
        return "Row Remapper: Error: remapping failed.";
    case 74:
        return "NVLink: fatal error detected on link 0(0x10000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)";
    case 79:
        return "GPU has fallen off the bus.";
    case 94:
        return "Contained: CE User Channel (0x9). RST: No, D-RST: No";
    case 95:
        return "Uncontained: LTC TAG (0x2,0x0). RST: Yes, D-RST: No";
    case 119:
        return "Timeout after 6s of waiting for RPC response from GPU0 GSP! Expected function 76 (GSP_RM_CONTROL).";
    default:
        return "Simulated error";
    }
}

static void log_line(const struct gpu *gpu, unsigned xid, unsigned pid, const char *process)
{
    char line[900], who[300];
    if (session.state->kmsg_path[0] == '\0')
        return;
    if (pid != 0)
        snprintf(who, sizeof who, "pid=%u, name=%s", pid, process);
    else
        snprintf(who, sizeof who, "pid='<unknown>', name=<unknown>");
    int length = snprintf(line, sizeof line, "3,%llu,%llu,-;NVRM: Xid (PCI:%04x:%02x:00): %u, %s, %s\n",
                          (unsigned long long)session.state->event_head,
                          (unsigned long long)(monotonic_ns() / 1000), (unsigned)gpu->pci_domain,
                          (unsigned)gpu->pci_bus, xid, who, xid_text(xid));
    int fd = open(session.state->kmsg_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return;
    /* One write a line, as the kernel log has one record a line; a full disk loses it, as a full ring would. */
    ssize_t written = write(fd, line, (size_t)length);
    (void)written;
    close(fd);
}

void event_xid(int index, unsigned xid, unsigned pid, const char *process)
{
    struct gpu *gpu = &session.state->gpus[index];
    STORE(gpu->last_xid, xid);
    STORE(gpu->xid_count, gpu->xid_count + 1);
    log_line(gpu, xid, pid, process);
    event_post(index, EVENT_XID, xid);
    if (xid == 48)
        event_post(index, EVENT_DOUBLE_BIT_ECC, 0);
}

void event_wait(uint64_t seen, uint64_t deadline_ns)
{
    struct state *state = session.state;
    while (LOAD(state->event_head) == seen) {
        uint32_t word = LOAD(state->event_wakeup);
        uint64_t now = monotonic_ns();
        if (LOAD(state->event_head) != seen || now >= deadline_ns)
            return;
        uint64_t nap = deadline_ns - now < 200000000ULL ? deadline_ns - now : 200000000ULL;
        struct timespec timeout = {(time_t)(nap / 1000000000ULL), (long)(nap % 1000000000ULL)};
        syscall(SYS_futex, &state->event_wakeup, FUTEX_WAIT, word, &timeout, NULL, 0);
    }
}
