// SPDX-License-Identifier: GPL-2.0-only
/*
 * A files process that lies: the input says which blocks of a directory's disk are read, and what is
 * answered to the questions.
 */
#include "tests/fuzz/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = { data, bytes };
	struct tree_rig r;

	open_tree(&r);
	start_job(r.disk, &(struct input){ (const uint8_t[]){ 0, 1, 0, 0, 0 }, 5 }); /* the root */
	use_tree(&r, &in);
	close_tree(&r);
	return 0;
}
