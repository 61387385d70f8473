/* SPDX-License-Identifier: Apache-2.0 */
/* What nvidia-smi needs of the library, which it loads by name as the real one does. */
#ifndef CHAOSGPU_SMI_H
#define CHAOSGPU_SMI_H

typedef struct nvmlDevice *device_t;

struct pci {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};

struct process {
    unsigned pid;
    unsigned long long used_memory;
    unsigned gpu_instance, compute_instance;
};

/* A function of the library; ends the program where the library does not have it. */
void *smi_symbol(const char *name);
const char *smi_error(int code);

/* CALL(nvmlDeviceGetUUID, int, (device_t, char *, unsigned), device, text, sizeof text) */
#define CALL(name, result, signature, ...) ((result(*) signature)smi_symbol(#name))(__VA_ARGS__)
#define GET(name, device, type, value) CALL(name, int, (device_t, type *), device, value)

/* --query-gpu and --query-compute-apps; `devices` are the chosen ones. Exit code. */
int smi_query_gpus(const char *fields, const char *format, const device_t *devices, unsigned count);
int smi_query_apps(const char *fields, const char *format, const device_t *devices, unsigned count);
/* The list and the table. */
void smi_list(const device_t *devices, unsigned count);
void smi_table(const device_t *devices, unsigned count);

#endif
