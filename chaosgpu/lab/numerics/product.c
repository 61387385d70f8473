/* SPDX-License-Identifier: Apache-2.0 */
/* The product of two matrices as two versions of a CUDA library would give it: the same to whoever looks at the code
 * that calls it, and not the same numbers.
 *
 * Built as it is, it multiplies in single precision. Built with TF32, the factors lose all but ten bits of their
 * fraction first and the sum stays in single precision: what tensor cores do where a library's version, or its default,
 * permits it. Nothing of NVIDIA's libraries is in this; which of them rounds where is for each version to say. */
#include <stdint.h>
#include <string.h>

static float factor(float value)
{
#ifdef TF32
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits += 0x0FFF + ((bits >> 13) & 1); /* to the nearest, ties to even */
    bits &= ~UINT32_C(0x1FFF);
    memcpy(&value, &bits, sizeof value);
#endif
    return value;
}

/* out[rows][columns] = left[rows][inner] * right[inner][columns], each in row order. */
__attribute__((visibility("default"))) void lab_product(const float *left, const float *right, float *out, int rows,
                                                        int inner, int columns)
{
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < columns; column++) {
            float sum = 0;
            for (int i = 0; i < inner; i++)
                sum += factor(left[row * inner + i]) * factor(right[i * columns + column]);
            out[row * columns + column] = sum;
        }
}
