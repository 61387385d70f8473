/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a call is to fail now. */
#ifndef CHAOSGPU_TOGGLE_H
#define CHAOSGPU_TOGGLE_H

enum group { ALLOC, LAUNCH, COPY, SYNC };

/* The CUresult with which this call fails, or 0: it goes through. */
int toggle_verdict(enum group group);

#endif
