/* SPDX-License-Identifier: Apache-2.0 */
/* Every function that can be told to hang, to fail or to be NOT_SUPPORTED, by its C name. */
#ifndef CHAOSGPU_FUNCTIONS_H
#define CHAOSGPU_FUNCTIONS_H

#define NVML_FUNCTIONS(F)                                                                                        \
    F(nvmlInitWithFlags) F(nvmlShutdown) F(nvmlSystemGetDriverVersion) F(nvmlSystemGetNVMLVersion)               \
    F(nvmlSystemGetCudaDriverVersion_v2) F(nvmlSystemGetProcessName) F(nvmlDeviceGetCount_v2)                    \
    F(nvmlDeviceGetHandleByIndex_v2) F(nvmlDeviceGetHandleByUUID) F(nvmlDeviceGetHandleByPciBusId_v2)            \
    F(nvmlDeviceGetIndex) F(nvmlDeviceGetMinorNumber) F(nvmlDeviceGetName) F(nvmlDeviceGetUUID)                  \
    F(nvmlDeviceGetSerial) F(nvmlDeviceGetPciInfo_v3) F(nvmlDeviceGetBrand) F(nvmlDeviceGetArchitecture)         \
    F(nvmlDeviceGetCudaComputeCapability) F(nvmlDeviceGetVbiosVersion) F(nvmlDeviceGetMemoryInfo)                \
    F(nvmlDeviceGetMemoryInfo_v2) F(nvmlDeviceGetBAR1MemoryInfo) F(nvmlDeviceGetComputeRunningProcesses_v3)      \
    F(nvmlDeviceGetGraphicsRunningProcesses_v3) F(nvmlDeviceGetMPSComputeRunningProcesses_v3)                    \
    F(nvmlDeviceGetProcessUtilization) F(nvmlDeviceGetUtilizationRates) F(nvmlDeviceSetMemoryLimits_v1)          \
    F(nvmlDeviceGetMemoryLimits_v1) F(nvmlDeviceGetTemperature) F(nvmlDeviceGetTemperatureThreshold)             \
    F(nvmlDeviceSetTemperatureThreshold) F(nvmlDeviceGetMarginTemperature) F(nvmlDeviceGetNumFans)               \
    F(nvmlDeviceGetFanSpeed) F(nvmlDeviceGetFanSpeed_v2) F(nvmlDeviceSetFanSpeed_v2)                             \
    F(nvmlDeviceSetDefaultFanSpeed_v2) F(nvmlDeviceGetPowerUsage) F(nvmlDeviceGetPowerManagementLimit)           \
    F(nvmlDeviceSetPowerManagementLimit) F(nvmlDeviceGetPowerManagementDefaultLimit)                             \
    F(nvmlDeviceGetPowerManagementLimitConstraints) F(nvmlDeviceGetEnforcedPowerLimit)                           \
    F(nvmlDeviceGetTotalEnergyConsumption) F(nvmlDeviceGetClockInfo) F(nvmlDeviceGetMaxClockInfo)                \
    F(nvmlDeviceGetSupportedMemoryClocks) F(nvmlDeviceGetSupportedGraphicsClocks)                                \
    F(nvmlDeviceSetGpuLockedClocks) F(nvmlDeviceResetGpuLockedClocks) F(nvmlDeviceSetMemoryLockedClocks)         \
    F(nvmlDeviceResetMemoryLockedClocks) F(nvmlDeviceGetPerformanceState)                                        \
    F(nvmlDeviceGetCurrentClocksEventReasons) F(nvmlDeviceGetSupportedClocksEventReasons)                        \
    F(nvmlDeviceGetViolationStatus) F(nvmlDeviceGetPersistenceMode) F(nvmlDeviceSetPersistenceMode)              \
    F(nvmlDeviceGetComputeMode) F(nvmlDeviceSetComputeMode) F(nvmlDeviceGetEccMode) F(nvmlDeviceSetEccMode)      \
    F(nvmlDeviceGetMigMode) F(nvmlDeviceSetMigMode) F(nvmlDeviceGetMaxMigDeviceCount)                            \
    F(nvmlDeviceGetMigDeviceHandleByIndex) F(nvmlDeviceGetTotalEccErrors) F(nvmlDeviceGetMemoryErrorCounter)     \
    F(nvmlDeviceGetSramEccErrorStatus) F(nvmlDeviceGetRemappedRows) F(nvmlDeviceGetRowRemapperHistogram)         \
    F(nvmlDeviceGetRetiredPages) F(nvmlDeviceGetRetiredPagesPendingStatus) F(nvmlDeviceGetFieldValues)           \
    F(nvmlDeviceClearEccErrorCounts) F(nvmlDeviceGetCurrPcieLinkGeneration)                                      \
    F(nvmlDeviceGetMaxPcieLinkGeneration) F(nvmlDeviceGetCurrPcieLinkWidth) F(nvmlDeviceGetMaxPcieLinkWidth)     \
    F(nvmlDeviceGetPcieReplayCounter) F(nvmlDeviceGetPcieThroughput) F(nvmlDeviceGetNvLinkState)                 \
    F(nvmlDeviceGetNvLinkErrorCounter) F(nvmlDeviceGetGpuFabricInfoV) F(nvmlSystemGetNvlinkBwMode)               \
    F(nvmlSystemSetNvlinkBwMode) F(nvmlDeviceModifyDrainState) F(nvmlDeviceQueryDrainState)                      \
    F(nvmlDeviceRemoveGpu) F(nvmlDeviceDiscoverGpus) F(nvmlEventSetCreate) F(nvmlDeviceRegisterEvents)           \
    F(nvmlEventSetWait_v2) F(nvmlEventSetFree) F(nvmlDeviceGetSupportedEventTypes)

#define CUDA_FUNCTIONS(F)                                                                                        \
    F(cuInit) F(cuDeviceGetCount) F(cuDeviceGet) F(cuDeviceGetName) F(cuDeviceGetUuid_v2)                        \
    F(cuDeviceGetByPCIBusId) F(cuDeviceGetPCIBusId) F(cuDeviceTotalMem_v2) F(cuDeviceGetAttribute)               \
    F(cuDevicePrimaryCtxRetain) F(cuDevicePrimaryCtxRelease_v2) F(cuDevicePrimaryCtxReset_v2)                    \
    F(cuDevicePrimaryCtxSetFlags_v2) F(cuDevicePrimaryCtxGetState) F(cuCtxCreate_v2) F(cuCtxDestroy_v2)          \
    F(cuCtxSetCurrent) F(cuCtxGetCurrent) F(cuCtxPushCurrent_v2) F(cuCtxPopCurrent_v2) F(cuCtxGetDevice)         \
    F(cuCtxSynchronize) F(cuMemGetInfo_v2) F(cuMemAlloc_v2) F(cuMemFree_v2) F(cuMemsetD8_v2) F(cuMemsetD32_v2)   \
    F(cuMemcpyHtoD_v2) F(cuMemcpyDtoH_v2) F(cuMemcpyDtoD_v2) F(cuMemHostAlloc) F(cuMemFreeHost)                  \
    F(cuModuleLoadData) F(cuModuleLoadDataEx) F(cuModuleGetFunction) F(cuModuleUnload) F(cuLaunchKernel)         \
    F(cuStreamCreate) F(cuStreamDestroy_v2) F(cuStreamSynchronize) F(cuStreamQuery) F(cuEventCreate)             \
    F(cuEventDestroy_v2) F(cuEventRecord) F(cuEventSynchronize) F(cuEventQuery) F(cuEventElapsedTime)

#define FUNCTION_ID(name) FN_##name,
enum function { NVML_FUNCTIONS(FUNCTION_ID) CUDA_FUNCTIONS(FUNCTION_ID) FN_COUNT };
#undef FUNCTION_ID

#endif
