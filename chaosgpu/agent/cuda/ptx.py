# SPDX-License-Identifier: Apache-2.0
"""The kernel of the burn, as PTX text: the driver compiles it for whatever GPU is there, from sm_52 on."""

SPIN_ENTRY = "spin"

# Four independent chains of multiply-adds keep the SMs busy without touching memory. The store can hardly happen,
# but the compiler cannot know that, so it may not remove the loop.
SPIN_PTX = """.version 6.4
.target sm_52
.address_size 64

.visible .entry spin(
    .param .u64 out,
    .param .u32 iters
)
{
    .reg .pred %p<3>;
    .reg .f32 %f<8>;
    .reg .b32 %r<6>;
    .reg .b64 %rd<3>;

    ld.param.u64 %rd1, [out];
    ld.param.u32 %r1, [iters];
    cvta.to.global.u64 %rd2, %rd1;
    mov.u32 %r2, %tid.x;
    mov.u32 %r3, 0;
    cvt.rn.f32.u32 %f1, %r2;
    add.f32 %f2, %f1, 0f3F800000;
    add.f32 %f3, %f1, 0f40000000;
    add.f32 %f4, %f1, 0f40400000;
    mov.f32 %f5, 0f3F7FFF00;
    mov.f32 %f6, 0f3A83126F;

LOOP:
    fma.rn.f32 %f1, %f1, %f5, %f6;
    fma.rn.f32 %f2, %f2, %f5, %f6;
    fma.rn.f32 %f3, %f3, %f5, %f6;
    fma.rn.f32 %f4, %f4, %f5, %f6;
    add.u32 %r3, %r3, 1;
    setp.lt.u32 %p1, %r3, %r1;
    @%p1 bra LOOP;

    add.f32 %f1, %f1, %f2;
    add.f32 %f3, %f3, %f4;
    add.f32 %f7, %f1, %f3;
    setp.eq.f32 %p2, %f7, 0fFF7FFFFF;
    @!%p2 bra DONE;
    st.global.f32 [%rd2], %f7;

DONE:
    ret;
}
"""
