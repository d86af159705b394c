// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs a fuzz target on files that are there already, once each, without libFuzzer: what fuzzing began with and
 * what it found, in the builds that unit tests have anyway.
 *
 *	NAME FOLDER...
 *
 * Like libFuzzer it begins with an input of no bytes, and gives no input more than 20 seconds.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

#define SECONDS_EACH 20

/* In memory of just its size, so that a sanitizer sees the byte behind it. */
static void run_bytes(const uint8_t *data, size_t bytes)
{
	uint8_t *copy = malloc(bytes ? bytes : 1);

	must(copy);
	if (bytes)
		memcpy(copy, data, bytes);
	alarm(SECONDS_EACH);
	LLVMFuzzerTestOneInput(copy, bytes);
	alarm(0);
	free(copy);
}

static void run_file(int folder, const char *name)
{
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *data;

	must(fd >= 0 && !fstat(fd, &st));
	data = malloc((size_t)st.st_size + 1);
	must(data && read(fd, data, (size_t)st.st_size) == st.st_size);
	close(fd);
	fprintf(stderr, "replay: %s\n", name); /* the last one, if it fails */
	run_bytes(data, (size_t)st.st_size);
	free(data);
}

/* Returns how many. */
static unsigned int run_folder(const char *path)
{
	DIR *folder = opendir(path);
	unsigned int nr = 0;
	struct dirent *e;

	if (!folder) {
		perror(path);
		exit(2);
	}
	while ((e = readdir(folder))) {
		if (e->d_name[0] == '.')
			continue;
		run_file(dirfd(folder), e->d_name);
		nr++;
	}
	closedir(folder);
	return nr;
}

int main(int argc, char **argv)
{
	static const uint8_t none[1];
	unsigned int nr = 0;

	run_bytes(none, 0);
	for (int i = 1; i < argc; i++)
		nr += run_folder(argv[i]);
	printf("Done %u runs\n", nr);
	return nr ? 0 : 1;
}
