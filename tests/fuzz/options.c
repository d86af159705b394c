// SPDX-License-Identifier: GPL-2.0-only
/* Any command line, words separated by zeros; and any string in a report. */
#include "tests/fuzz/fuzz.h"

#include "cmd/options.h"
#include "cmd/report.h"
#include "util.h"

/* What comes out is one string of JSON: quotes and control characters are escaped. */
static void check_json(const char *text)
{
	char *out = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&out, &n);

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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char words[4096], name[] = "run", *argv[64] = { name };
	struct run_options o;
	int argc = 1;

	log_set_level(LOG_ERROR);
	bytes = min_u64(bytes, sizeof(words) - 1);
	memcpy(words, data, bytes);
	words[bytes] = 0;
	check_json(words);
	for (size_t at = 0; at < bytes && argc < 63; at += strlen(words + at) + 1)
		argv[argc++] = words + at;
	options_parse(&o, argc, argv);
	options_fini(&o);
	return 0;
}
