/* SPDX-License-Identifier: Apache-2.0 */
/* Every CUDA driver call that the shim can make fail: CALL(group, name, parameters, arguments), one a line.
 *
 * _ptsz and _ptds are the same calls for programs that were built with a stream for each thread. */

CALL(ALLOC, cuMemAlloc_v2, (device_address *at, size_t size), (at, size))
CALL(ALLOC, cuMemAllocPitch_v2, (device_address *at, size_t *pitch, size_t width, size_t height, unsigned element),
     (at, pitch, width, height, element))
CALL(ALLOC, cuMemAllocManaged, (device_address *at, size_t size, unsigned flags), (at, size, flags))
CALL(ALLOC, cuMemAllocAsync, (device_address *at, size_t size, void *stream), (at, size, stream))
CALL(ALLOC, cuMemAllocAsync_ptsz, (device_address *at, size_t size, void *stream), (at, size, stream))
CALL(ALLOC, cuMemAllocFromPoolAsync, (device_address *at, size_t size, void *pool, void *stream),
     (at, size, pool, stream))
CALL(ALLOC, cuMemAllocFromPoolAsync_ptsz, (device_address *at, size_t size, void *pool, void *stream),
     (at, size, pool, stream))
CALL(ALLOC, cuMemCreate, (device_address *handle, size_t size, const void *properties, unsigned long long flags),
     (handle, size, properties, flags))

CALL(LAUNCH, cuLaunchKernel, (void *kernel, LAUNCH_SIZES, unsigned shared, void *stream, void **values, void **extra),
     (kernel, LAUNCH_SIZES_ON, shared, stream, values, extra))
CALL(LAUNCH, cuLaunchKernel_ptsz,
     (void *kernel, LAUNCH_SIZES, unsigned shared, void *stream, void **values, void **extra),
     (kernel, LAUNCH_SIZES_ON, shared, stream, values, extra))
CALL(LAUNCH, cuLaunchKernelEx, (const void *how, void *kernel, void **values, void **extra),
     (how, kernel, values, extra))
CALL(LAUNCH, cuLaunchKernelEx_ptsz, (const void *how, void *kernel, void **values, void **extra),
     (how, kernel, values, extra))
CALL(LAUNCH, cuLaunchCooperativeKernel, (void *kernel, LAUNCH_SIZES, unsigned shared, void *stream, void **values),
     (kernel, LAUNCH_SIZES_ON, shared, stream, values))
CALL(LAUNCH, cuLaunchCooperativeKernel_ptsz,
     (void *kernel, LAUNCH_SIZES, unsigned shared, void *stream, void **values),
     (kernel, LAUNCH_SIZES_ON, shared, stream, values))
CALL(LAUNCH, cuGraphLaunch, (void *graph, void *stream), (graph, stream))
CALL(LAUNCH, cuGraphLaunch_ptsz, (void *graph, void *stream), (graph, stream))

CALL(COPY, cuMemcpy, (device_address to, device_address from, size_t size), (to, from, size))
CALL(COPY, cuMemcpy_ptds, (device_address to, device_address from, size_t size), (to, from, size))
CALL(COPY, cuMemcpyAsync, (device_address to, device_address from, size_t size, void *stream),
     (to, from, size, stream))
CALL(COPY, cuMemcpyAsync_ptsz, (device_address to, device_address from, size_t size, void *stream),
     (to, from, size, stream))
CALL(COPY, cuMemcpyHtoD_v2, (device_address to, const void *from, size_t size), (to, from, size))
CALL(COPY, cuMemcpyHtoD_v2_ptds, (device_address to, const void *from, size_t size), (to, from, size))
CALL(COPY, cuMemcpyHtoDAsync_v2, (device_address to, const void *from, size_t size, void *stream),
     (to, from, size, stream))
CALL(COPY, cuMemcpyHtoDAsync_v2_ptsz, (device_address to, const void *from, size_t size, void *stream),
     (to, from, size, stream))
CALL(COPY, cuMemcpyDtoH_v2, (void *to, device_address from, size_t size), (to, from, size))
CALL(COPY, cuMemcpyDtoH_v2_ptds, (void *to, device_address from, size_t size), (to, from, size))
CALL(COPY, cuMemcpyDtoHAsync_v2, (void *to, device_address from, size_t size, void *stream), (to, from, size, stream))
CALL(COPY, cuMemcpyDtoHAsync_v2_ptsz, (void *to, device_address from, size_t size, void *stream),
     (to, from, size, stream))
CALL(COPY, cuMemcpyDtoD_v2, (device_address to, device_address from, size_t size), (to, from, size))
CALL(COPY, cuMemcpyDtoD_v2_ptds, (device_address to, device_address from, size_t size), (to, from, size))
CALL(COPY, cuMemcpyDtoDAsync_v2, (device_address to, device_address from, size_t size, void *stream),
     (to, from, size, stream))
CALL(COPY, cuMemcpyDtoDAsync_v2_ptsz, (device_address to, device_address from, size_t size, void *stream),
     (to, from, size, stream))

/* A later version takes the context; the first takes nothing and does not look at what it is given. */
CALL(SYNC, cuCtxSynchronize, (void *context), (context))
CALL(SYNC, cuStreamSynchronize, (void *stream), (stream))
CALL(SYNC, cuStreamSynchronize_ptsz, (void *stream), (stream))
CALL(SYNC, cuEventSynchronize, (void *event), (event))
