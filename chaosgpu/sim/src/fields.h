/* SPDX-License-Identifier: Apache-2.0 */
/* Every field of the shared state, once: the structures, the tables and the JSON all come from these lists.
 *
 * U unsigned word, I signed word, D double, S text of n bytes, A array of n words.
 * Kinds: IDENTITY never changes; SETTING is what a tool may set; FAULT is what the simulator is told to do wrong;
 * COUNTER only grows on a real device. */
#ifndef CHAOSGPU_FIELDS_H
#define CHAOSGPU_FIELDS_H

#define SYSTEM_FIELDS(U, I, D, S, A)                                                                             \
    S(instance, 48, IDENTITY)                                                                                    \
    S(profile, 32, IDENTITY)                                                                                     \
    S(driver_version, 80, IDENTITY)                                                                              \
    S(nvml_version, 80, IDENTITY)                                                                                \
    U(cuda_version, IDENTITY)                                                                                    \
    S(device_nodes, 512, IDENTITY)                                                                               \
    U(nvlink_bw_mode, SETTING)                                                                                   \
    S(kernel_driver_version, 80, FAULT)                                                                          \
    U(driver_loaded, FAULT)                                                                                      \
    I(simulated_root, FAULT)                                                                                     \
    S(kmsg_path, 512, FAULT)                                                                                     \
    D(physics_speed, FAULT)

#define GPU_FIELDS(U, I, D, S, A)                                                                                \
    S(name, 96, IDENTITY)                                                                                        \
    S(uuid, 48, IDENTITY)                                                                                        \
    S(serial, 30, IDENTITY)                                                                                      \
    S(vbios_version, 32, IDENTITY)                                                                               \
    S(pci_bus_id, 32, IDENTITY)                                                                                  \
    U(pci_domain, IDENTITY)                                                                                      \
    U(pci_bus, IDENTITY)                                                                                         \
    U(pci_device_id, IDENTITY)                                                                                   \
    U(pci_subsystem_id, IDENTITY)                                                                                \
    U(minor_number, IDENTITY)                                                                                    \
    U(brand, IDENTITY)                                                                                           \
    U(architecture, IDENTITY)                                                                                    \
    U(compute_major, IDENTITY)                                                                                   \
    U(compute_minor, IDENTITY)                                                                                   \
    U(sm_count, IDENTITY)                                                                                        \
    U(memory_total_mib, IDENTITY)                                                                                \
    U(memory_reserved_mib, IDENTITY)                                                                             \
    U(context_mib, IDENTITY)                                                                                     \
    U(bar1_mib, IDENTITY)                                                                                        \
    U(power_min_mw, IDENTITY)                                                                                    \
    U(power_default_mw, IDENTITY)                                                                                \
    U(power_max_mw, IDENTITY)                                                                                    \
    U(power_idle_mw, IDENTITY)                                                                                   \
    U(power_load_mw, IDENTITY)                                                                                   \
    U(sm_min_mhz, IDENTITY)                                                                                      \
    U(sm_max_mhz, IDENTITY)                                                                                      \
    U(sm_idle_mhz, IDENTITY)                                                                                     \
    U(sm_step_mhz, IDENTITY)                                                                                     \
    U(memory_idle_mhz, IDENTITY)                                                                                 \
    U(video_max_mhz, IDENTITY)                                                                                   \
    A(memory_clocks_mhz, 6, IDENTITY)                                                                            \
    U(shutdown_celsius, IDENTITY)                                                                                \
    U(slowdown_celsius, IDENTITY)                                                                                \
    U(memory_max_celsius, IDENTITY)                                                                              \
    U(gpu_max_celsius, IDENTITY)                                                                                 \
    U(acoustic_min_celsius, IDENTITY)                                                                            \
    U(acoustic_max_celsius, IDENTITY)                                                                            \
    U(full_load_celsius, IDENTITY)                                                                               \
    U(thermal_tau_s, IDENTITY)                                                                                   \
    U(fans, IDENTITY)                                                                                            \
    U(ecc_supported, IDENTITY)                                                                                   \
    U(mig_supported, IDENTITY)                                                                                   \
    U(mig_max_devices, IDENTITY)                                                                                 \
    U(row_remap_supported, IDENTITY)                                                                             \
    U(retired_pages_supported, IDENTITY)                                                                         \
    U(fabric_supported, IDENTITY)                                                                                \
    U(nvlink_links, IDENTITY)                                                                                    \
    U(nvlink_mbps, IDENTITY)                                                                                     \
    U(pcie_gen_max, IDENTITY)                                                                                    \
    U(pcie_gen_idle, IDENTITY)                                                                                   \
    U(pcie_width_max, IDENTITY)                                                                                  \
    U(pstate_idle, IDENTITY)                                                                                     \
    U(pstate_load, IDENTITY)                                                                                     \
    U(persistence_mode, SETTING)                                                                                 \
    U(compute_mode, SETTING)                                                                                     \
    U(power_limit_mw, SETTING)                                                                                   \
    U(sm_lock_min_mhz, SETTING)                                                                                  \
    U(sm_lock_max_mhz, SETTING)                                                                                  \
    U(memory_lock_min_mhz, SETTING)                                                                              \
    U(memory_lock_max_mhz, SETTING)                                                                              \
    U(ecc_mode, SETTING)                                                                                         \
    U(ecc_pending, SETTING)                                                                                      \
    U(mig_mode, SETTING)                                                                                         \
    U(mig_pending, SETTING)                                                                                      \
    U(drain, SETTING)                                                                                            \
    U(acoustic_celsius, SETTING)                                                                                 \
    U(fan_manual_percent, SETTING)                                                                               \
    U(removed, FAULT)                                                                                            \
    U(lost, FAULT)                                                                                               \
    U(reset_required, FAULT)                                                                                     \
    U(recovery_action, FAULT)                                                                                    \
    I(temperature_celsius, FAULT)                                                                                \
    I(power_mw, FAULT)                                                                                           \
    I(utilization_percent, FAULT)                                                                                \
    U(ambient_celsius, FAULT)                                                                                    \
    U(foreign_used_mib, FAULT)                                                                                   \
    U(forced_event_reasons, FAULT)                                                                               \
    U(pcie_gen_cap, FAULT)                                                                                       \
    U(pcie_width_cap, FAULT)                                                                                     \
    U(nvlink_down_mask, FAULT)                                                                                   \
    U(fabric_state, FAULT)                                                                                       \
    U(fabric_status, FAULT)                                                                                      \
    U(fabric_health_mask, FAULT)                                                                                 \
    U(retired_pending, FAULT)                                                                                    \
    U(remap_pending, FAULT)                                                                                      \
    U(remap_failure, FAULT)                                                                                      \
    U(remapped_corrected, COUNTER)                                                                               \
    U(remapped_uncorrected, COUNTER)                                                                             \
    U(retired_sbe, COUNTER)                                                                                      \
    U(retired_dbe, COUNTER)                                                                                      \
    A(ecc_volatile_corrected, 2, COUNTER)                                                                        \
    A(ecc_volatile_uncorrected, 2, COUNTER)                                                                      \
    A(ecc_aggregate_corrected, 2, COUNTER)                                                                       \
    A(ecc_aggregate_uncorrected, 2, COUNTER)                                                                     \
    U(pcie_replays, COUNTER)                                                                                     \
    U(xid_count, COUNTER)                                                                                        \
    U(last_xid, COUNTER)                                                                                         \
    A(nvlink_replay_errors, 18, COUNTER)                                                                         \
    A(nvlink_recovery_errors, 18, COUNTER)                                                                       \
    A(nvlink_crc_flit_errors, 18, COUNTER)                                                                       \
    A(nvlink_crc_data_errors, 18, COUNTER)

#endif
