/* SPDX-License-Identifier: Apache-2.0 */
/* A second preloaded library that looks for the function behind itself, as many do: it must not find itself again. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

int rand(void)
{
    int (*behind)(void) = (int (*)(void))dlsym(RTLD_NEXT, "rand");
    return behind != rand && behind != NULL;
}
