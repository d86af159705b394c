// SPDX-License-Identifier: GPL-2.0-only
/* A file to prove what is in a header. */
#include "iov.h"
