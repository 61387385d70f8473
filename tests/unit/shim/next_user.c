/* SPDX-License-Identifier: Apache-2.0 */
/* Prints what the library of next.c found. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    puts(rand() ? "found" : "itself");
    return 0;
}
