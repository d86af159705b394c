// SPDX-License-Identifier: GPL-2.0-only
/* Any string in a report: what comes out is one string of JSON. */
#include "tests/fuzz/fuzz.h"

#include "control/json.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char text[4097], *out = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&out, &n);

	bytes = min_u64(bytes, sizeof(text) - 1);
	memcpy(text, data, bytes);
	text[bytes] = 0;
	must(f);
	json_string(f, text);
	must(!fclose(f) && n >= 2 && out[0] == '"' && out[n - 1] == '"');
	for (size_t i = 1; i + 1 < n; i++) {
		must((unsigned char)out[i] >= 0x20 && out[i] != '"');
		if (out[i] == '\\') {
			i++;
			must(i + 1 < n && strchr("\"\\/bfnrtu", out[i]));
		}
	}
	free(out);
	return 0;
}
