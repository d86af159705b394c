// SPDX-License-Identifier: GPL-2.0-only
/*
 * config.json: bundles as podman 4.3 and containerd 1.6 wrote them (tests/oci/bundles), each field of
 * a wrong type, hostile texts, and what cannot be done.
 */
#include "tests/lib/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "oci/config.h"
#include "oci/words.h"
#include "util.h"

#define BUNDLES "tests/oci/bundles/"

static struct config_error error;

static char *load(const char *name, size_t *bytes)
{
	char path[256], *text;
	int fd;

	snprintf(path, sizeof(path), BUNDLES "%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(config_read_file(fd, &text, bytes), 0);
	close(fd);
	return text;
}

static bool is_process(const char *name)
{
	return strstr(name, ".process.json") != NULL;
}

static int parse(struct config *c, const char *name, const char *text, size_t bytes)
{
	*error.text = '\0';
	return config_parse(c, is_process(name) ? CONFIG_PROCESS : CONFIG_BUNDLE, text, bytes, &error);
}

static void parse_bundle(struct config *c, const char *name)
{
	size_t bytes;
	char *text = load(name, &bytes);

	if (parse(c, name, text, bytes))
		fail_msg("%s: %s", name, error.text);
	free(text);
}

/* ---- bundles ---- */

static void each_bundle_is_read(void **state)
{
	unsigned int nr = 0;
	DIR *dir = opendir(BUNDLES);
	struct dirent *e;

	(void)state;
	assert_non_null(dir);
	while ((e = readdir(dir))) {
		struct config c;
		size_t bytes;
		char *text;
		int rc;

		if (!strstr(e->d_name, ".json"))
			continue;
		nr++;
		text = load(e->d_name, &bytes);
		rc = parse(&c, e->d_name, text, bytes);
		/* One has user namespaces, of which its engine was told. */
		if (!strcmp(e->d_name, "podman-uidmap.config.json")) {
			assert_int_equal(rc, -ENOTSUP);
			assert_string_equal(error.text,
					    "config.json: linux.uidMappings: lkvm cannot do this; "
					    "the annotation lkvm.ignore with this name drops it");
		} else if (rc) {
			fail_msg("%s: %s", e->d_name, error.text);
		} else {
			assert_true(c.has_process && c.process.args.nr && c.process.cwd);
			assert_string_equal(c.notes, "");
			assert_true(is_process(e->d_name) || (c.root && c.nr_mounts >= 7));
		}
		free(text);
		config_fini(&c);
	}
	closedir(dir);
	assert_int_equal(nr, 31);
}

static const struct config_mount *mount_at(const struct config *c, const char *destination)
{
	for (unsigned int i = 0; i < c->nr_mounts; i++)
		if (!strcmp(c->mounts[i].destination, destination))
			return &c->mounts[i];
	fail_msg("no mount at %s", destination);
	return NULL;
}

static void what_podman_runs(void **state)
{
	const struct config_process *p;
	const struct config_mount *m;
	struct config c;

	(void)state;
	parse_bundle(&c, "podman-run.config.json");
	p = &c.process;
	assert_string_equal(c.root, "/var/lib/containers/storage/overlay/00000000c0ffee01/merged");
	assert_false(c.root_read_only || p->terminal || p->no_new_privileges);
	assert_int_equal(p->args.nr, 3);
	assert_string_equal(p->args.texts[1], "-c");
	assert_null(p->args.texts[3]);
	assert_int_equal(p->env.nr, 5);
	assert_string_equal(config_variable(&c, "TERM"), "xterm");
	assert_null(config_variable(&c, "TER"));
	assert_string_equal(p->cwd, "/");
	assert_true(p->umask_given && p->umask == 022);
	assert_int_equal(p->rlimits[RLIMIT_NOFILE].soft, 1048576);
	assert_true(p->rlimits[RLIMIT_NPROC].given && !p->rlimits[RLIMIT_CORE].given);
	assert_true(p->capabilities.given);
	assert_true(p->capabilities.bounding >> CAP_SYS_CHROOT & 1);
	assert_false(p->capabilities.effective >> CAP_SYS_ADMIN & 1);
	assert_int_equal(p->capabilities.ambient, 0);
	assert_string_equal(c.hostname, "0000c0ffee01");
	m = mount_at(&c, "/dev");
	assert_string_equal(m->type, "tmpfs");
	assert_string_equal(m->data, "mode=755,size=65536k");
	assert_int_equal(m->flags, MS_NOSUID | MS_NOEXEC | MS_STRICTATIME);
	assert_string_equal(mount_at(&c, "/dev/pts")->data, "newinstance,ptmxmode=0666,mode=0620,gid=5");
	assert_int_equal(mount_at(&c, "/sys")->flags, MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY);
	m = mount_at(&c, "/etc/hosts");
	assert_int_equal(m->flags, MS_BIND);
	assert_string_equal(m->data, "");
	assert_string_equal(config_annotation(&c, "org.opencontainers.image.stopSignal"), "15");
	assert_null(config_annotation(&c, "none"));
	assert_int_equal(c.sysctl.nr, 1);
	assert_string_equal(c.sysctl.pairs[0].value, "0 0");
	assert_int_equal(c.masked_paths.nr, 11);
	assert_int_equal(c.read_only_paths.nr, 6);
	assert_int_equal(c.resources.pids, 2048);
	assert_non_null(c.seccomp);
	assert_true(c.namespaces[CONFIG_NS_NETWORK].given && !c.namespaces[CONFIG_NS_NETWORK].path);
	config_fini(&c);
}

static void what_others_ask_for(void **state)
{
	struct config c;

	(void)state;
	parse_bundle(&c, "podman-limits.config.json");
	assert_int_equal(c.resources.memory_bytes, 64 << 20);
	assert_int_equal(c.resources.swap_bytes, 128 << 20);
	assert_int_equal(c.resources.cpu_quota_us, 50000);
	assert_int_equal(c.resources.cpu_period_us, 100000);
	assert_string_equal(c.resources.cpus, "0");
	config_fini(&c);
	parse_bundle(&c, "podman-ro-volumes.config.json");
	assert_true(c.root_read_only);
	assert_true(mount_at(&c, "/run")->copy_up && mount_at(&c, "/scratch")->copy_up);
	assert_string_equal(mount_at(&c, "/scratch")->data, "size=1m");
	assert_int_equal(mount_at(&c, "/ro")->flags, MS_BIND | MS_REC | MS_RDONLY);
	assert_int_equal(mount_at(&c, "/rw")->flags, MS_BIND | MS_REC);
	config_fini(&c);
	parse_bundle(&c, "podman-kube-a.config.json");
	assert_string_equal(c.namespaces[CONFIG_NS_NETWORK].path, "/proc/4242/ns/net");
	assert_string_equal(config_annotation(&c, "io.kubernetes.cri-o.ContainerType"), "container");
	config_fini(&c);
	parse_bundle(&c, "podman-net-host.config.json");
	assert_false(c.namespaces[CONFIG_NS_NETWORK].given);
	config_fini(&c);
	parse_bundle(&c, "cri-container-a.config.json");
	assert_string_equal(c.root, "rootfs");
	assert_true(c.process.oom_score_given && c.process.oom_score == 900);
	assert_int_equal(c.process.nr_groups, 1);
	assert_int_equal(c.resources.cpu_shares, 512);
	config_fini(&c);
	parse_bundle(&c, "podman-exec-user-privileged.process.json");
	assert_int_equal(c.process.uid, 65534);
	config_fini(&c);
	parse_bundle(&c, "ctr-exec-tty.process.json");
	assert_true(c.process.terminal && c.process.no_new_privileges);
	config_fini(&c);
	parse_bundle(&c, "podman-privileged.config.json");
	assert_int_equal(c.nr_devices, 4);
	assert_true(c.devices[0].type == 'c' || c.devices[0].type == 'b');
	config_fini(&c);
}

/* ---- what is wrong ---- */

#define HEAD "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"r\"}"

static int parse_text(const char *text)
{
	struct config c;
	int rc;

	*error.text = '\0';
	rc = config_parse(&c, CONFIG_BUNDLE, text, strlen(text), &error);
	config_fini(&c);
	return rc;
}

static void refused(const char *text, int rc, const char *words)
{
	int got = parse_text(text);

	if (got != rc || strcmp(error.text, words) != 0)
		fail_msg("%.200s: %d \"%s\", not %d \"%s\"", text, got, error.text, rc, words);
}

static void wrong_values_are_named(void **state)
{
	static const char *const cases[][2] = {
		{ "{}", "ociVersion: is missing" },
		{ "{\"ociVersion\":\"1.0\"}", "root.path: is missing" },
		{ HEAD ",\"process\":{}}", "process.cwd: is missing" },
		{ HEAD ",\"process\":{\"cwd\":\"x\"}}", "process.cwd: \"x\" is no absolute path" },
		{ HEAD ",\"process\":{\"cwd\":\"/\"}}", "process.args: names no program" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"\"]}}", "process.args: names no program" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"a\\u0000b\"]}}", "process.args[0]: has a NUL in it" },
		{ HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"a\",1]}}", "process.args[1]: is not a text" },
		{ HEAD ",\"process\":{\"env\":[\"A=\",\"B\"]}}", "process.env: [1] is not NAME=VALUE" },
		{ HEAD ",\"process\":{\"user\":{\"uid\":-1}}}", "process.user.uid: -1 is not from 0 to 4294967294" },
		{ HEAD ",\"process\":{\"user\":{\"gid\":4294967295}}}",
		  "process.user.gid: 4294967295 is not from 0 to 4294967294" },
		{ HEAD ",\"process\":{\"user\":{\"uid\":1e3}}}", "process.user.uid: is not a whole number" },
		{ HEAD ",\"process\":{\"user\":{\"umask\":512}}}", "process.user.umask: 512 is not from 0 to 511" },
		{ HEAD ",\"process\":{\"user\":{\"additionalGids\":[-1]}}}",
		  "process.user.additionalGids: has what is no group" },
		{ HEAD ",\"process\":{\"capabilities\":{\"bounding\":[\"CAP_X\"]}}}",
		  "process.capabilities.bounding: \"CAP_X\" is no capability" },
		{ HEAD ",\"process\":{\"rlimits\":[{\"type\":\"RLIMIT_X\",\"soft\":1,\"hard\":1}]}}",
		  "process.rlimits[0].type: is no limit of setrlimit(2)" },
		{ HEAD ",\"process\":{\"rlimits\":[{\"type\":\"RLIMIT_CPU\",\"soft\":2,\"hard\":1}]}}",
		  "process.rlimits[0].soft: is more than hard" },
		{ HEAD ",\"process\":{\"rlimits\":[{\"type\":\"RLIMIT_CPU\",\"soft\":-2,\"hard\":1}]}}",
		  "process.rlimits[0].soft: is negative" },
		{ HEAD ",\"process\":{\"oomScoreAdj\":1001}}", "process.oomScoreAdj: 1001 is not from -1000 to 1000" },
		{ HEAD ",\"mounts\":[{\"destination\":\"x\"}]}", "mounts[0].destination: \"x\" is no absolute path" },
		{ HEAD ",\"mounts\":[{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"y\"}]}",
		  "mounts[0].source: a bind needs an absolute path" },
		{ HEAD ",\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]}}",
		  "linux.namespaces[1].type: \"pid\" is there twice" },
		{ HEAD ",\"linux\":{\"devices\":[{\"path\":\"/dev/x\",\"type\":\"z\"}]}}",
		  "linux.devices[0].type: is none of b, c, u and p" },
		{ HEAD ",\"linux\":{\"resources\":{\"devices\":[{\"type\":\"x\"}]}}}",
		  "linux.resources.devices[0].type: is none of a, b and c" },
		{ HEAD ",\"linux\":{\"resources\":{\"devices\":[{},{\"access\":\"rx\"}]}}}",
		  "linux.resources.devices[1].access: has other letters than rwm" },
		{ HEAD ",\"linux\":{\"resources\":{\"devices\":[{\"major\":-2}]}}}",
		  "linux.resources.devices[0].major: -2 is not from -1 to 4294967295" },
		{ HEAD ",\"linux\":{\"rootfsPropagation\":\"rx\"}}", "linux.rootfsPropagation: \"rx\" is none" },
		{ HEAD ",\"annotations\":{\"a\":1}}", "annotations.a: is not a text" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char words[300];

		snprintf(words, sizeof(words), "config.json: %s", cases[i][1]);
		refused(cases[i][0], -EINVAL, words);
	}
}

static void what_cannot_be_done_is_named(void **state)
{
	static const char *const cases[][2] = {
		{ "\"hooks\":{\"poststop\":[{\"path\":\"/x\"}]}", "hooks" },
		{ "\"process\":{\"ioPriority\":{\"class\":\"x\"}}", "process.ioPriority" },
		{ "\"linux\":{\"intelRdt\":{\"closID\":\"x\"}}", "linux.intelRdt" },
		{ "\"linux\":{\"resources\":{\"blockIO\":{\"weight\":1}}}", "linux.resources.blockIO" },
		{ "\"linux\":{\"resources\":{\"memory\":{\"kernel\":1}}}", "linux.resources.memory.kernel" },
		{ "\"mounts\":[{\"destination\":\"/x\",\"uidMappings\":[{}, 1]}]", "mounts[0].uidMappings" },
	};
	char text[512], words[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(text, sizeof(text), HEAD ",%s}", cases[i][0]);
		snprintf(words, sizeof(words), "config.json: %s: lkvm cannot do this; the annotation "
					       "lkvm.ignore with this name drops it",
			 cases[i][1]);
		refused(text, -ENOTSUP, words);
	}
	refused("{\"ociVersion\":\"2.0\"}", -ENOTSUP, "config.json: ociVersion: 2.0 is not 1");
	refused(HEAD ",\"mounts\":[{\"destination\":\"/x\",\"source\":\"/y\",\"options\":[\"idmap\",\"bind\"]}]}",
		-ENOTSUP, "config.json: mounts[0].options: \"idmap\": lkvm does not know it");
	refused(HEAD ",\"mounts\":[{\"destination\":\"/x\",\"options\":[\"rshared\"]}]}", -ENOTSUP,
		"config.json: mounts[0].options: \"rshared\": mounts in a VM cannot be seen outside");
	refused(HEAD ",\"linux\":{\"namespaces\":[{\"type\":\"user\"}]}}", -ENOTSUP,
		"config.json: linux.namespaces[0].type: \"user\": lkvm cannot do this; the annotation "
		"lkvm.ignore with linux.namespaces drops it");
	/* What asks for nothing is no reason. */
	assert_int_equal(parse_text(HEAD ",\"hooks\":{\"prestart\":[]},\"linux\":{\"mountLabel\":\"\","
					 "\"resources\":{\"hugepageLimits\":[],\"blockIO\":{}}}}"),
			 0);
}

static void what_an_annotation_names_is_ignored(void **state)
{
	static const char text[] = HEAD ",\"annotations\":{\"lkvm.ignore\":\"hooks, linux.seccomp linux.namespaces\"},"
					"\"hooks\":{\"poststop\":[{\"path\":\"/x\"}]},\"new\":{\"a\":1},\"linux\":{\"seccomp\":{\"defaultAction\":"
					"\"x\"},\"namespaces\":[{\"type\":\"user\"},{\"type\":\"pid\"}]}}";
	struct config c;

	(void)state;
	if (config_parse(&c, CONFIG_BUNDLE, text, strlen(text), &error))
		fail_msg("%s", error.text);
	assert_string_equal(c.notes, "hooks: ignored, as the annotation says\nnew: unknown, passed over\n"
				     "linux.namespaces[0].user: ignored, as the annotation says\n"
				     "linux.seccomp: ignored, as the annotation says\n");
	assert_null(c.seccomp);
	assert_true(c.namespaces[CONFIG_NS_PID].given);
	config_fini(&c);
}

static void annotations_are_obeyed_as_allowed(void **state)
{
	static const struct {
		const char *name, *allowed;
		bool obeyed;
	} cases[] = {
		{ "lkvm.memory", NULL, true },
		{ "lkvm.cpus", "", true },
		{ "other.network", NULL, true },
		{ "lkvm.warm", NULL, true },
		{ "lkvm.publish", NULL, true },
		{ "lkvm.warmer", NULL, false },
		{ "lkvm.network", NULL, false },
		{ "lkvm.kernel", "", false },
		{ "lkvm.modules", "kernel", false },
		{ "lkvm.ignore", "ignored", false },
		{ "lkvm.", NULL, false },
		{ "lkvm.x", "kernel ignore", false },
		{ "lkvm.ignore", "kernel ignore", true },
		{ "lkvm.kernel", "network,kernel", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[512], wanted[64];
		struct config c;
		int rc;

		snprintf(text, sizeof(text), HEAD ",\"annotations\":{\"a\":\"b\",\"%s\":\"x\"}}", cases[i].name);
		assert_int_equal(parse(&c, "", text, strlen(text)), 0);
		rc = config_check_annotations(&c, cases[i].allowed, &error);
		if (rc != (cases[i].obeyed ? 0 : -EPERM))
			fail_msg("%s with \"%s\": %d", cases[i].name, cases[i].allowed ? cases[i].allowed : "", rc);
		snprintf(wanted, sizeof(wanted), "annotations.%s: is not obeyed", cases[i].name);
		assert_true(!rc || strstr(error.text, wanted));
		config_fini(&c);
	}
}

static void labels_of_the_host_are_noted(void **state)
{
	static const char text[] = HEAD ",\"process\":{\"cwd\":\"/\",\"args\":[\"x\"],\"apparmorProfile\":\"a\","
					"\"selinuxLabel\":\"s\"},\"linux\":{\"mountLabel\":\"m\"}}";
	struct config c;

	(void)state;
	if (config_parse(&c, CONFIG_BUNDLE, text, strlen(text), &error))
		fail_msg("%s", error.text);
	assert_string_equal(c.notes, "linux.mountLabel: is for processes of the host, passed over\n"
				     "process.apparmorProfile: is for processes of the host, passed over\n"
				     "process.selinuxLabel: is for processes of the host, passed over\n");
	config_fini(&c);
}

/* ---- each field of another type ---- */

static unsigned int nr_changed, nr_refused;

static void parse_changed(const char *name, struct json_object *top)
{
	const char *text = json_object_to_json_string_ext(top, JSON_C_TO_STRING_PLAIN);
	struct config c;
	int rc = parse(&c, name, text, strlen(text));

	nr_changed++;
	nr_refused += rc != 0;
	assert_true(!rc == !*error.text);
	assert_true(!rc || !strncmp(error.text, "config.json: ", 13));
	config_fini(&c);
}

static struct json_object *other_value(unsigned int i)
{
	static const char *const values[] = {
		"null", "true", "-1", "18446744073709551615", "1.5", "\"\"", "\"x\"", "[]", "[[[1]]]", "{}",
		"{\"a\":{}}", "[null]", "[{}]", "\"\\u0000\"", "9223372036854775807", "[\"\\ud800\"]"
	};

	return i < ARRAY_SIZE(values) ? json_tokener_parse(values[i]) : NULL;
}

#define NR_VALUES 16u

static void change_each(const char *name, struct json_object *top, struct json_object *at)
{
	if (json_object_get_type(at) == json_type_object) {
		json_object_object_foreach(at, key, value) {
			struct json_object *kept = json_object_get(value);

			for (unsigned int i = 0; i < NR_VALUES; i++) {
				json_object_object_add(at, key, other_value(i));
				parse_changed(name, top);
			}
			json_object_object_add(at, key, kept);
			change_each(name, top, kept);
		}
	}
	for (size_t k = 0; json_object_get_type(at) == json_type_array && k < json_object_array_length(at); k++) {
		struct json_object *kept = json_object_get(json_object_array_get_idx(at, k));

		for (unsigned int i = 0; i < NR_VALUES; i++) {
			json_object_array_put_idx(at, k, other_value(i));
			parse_changed(name, top);
		}
		json_object_array_put_idx(at, k, kept);
		change_each(name, top, kept);
	}
}

static void each_field_of_another_type(void **state)
{
	static const char *const names[] = {
		"podman-limits.config.json", "cri-container-a.config.json", "ctr-exec-tty.process.json"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t bytes;
		char *text = load(names[i], &bytes);
		struct json_object *top = json_tokener_parse(text);

		assert_non_null(top);
		change_each(names[i], top, top);
		json_object_put(top);
		free(text);
	}
	/* Most of them matter: a reader that took anything would show here. */
	assert_true(nr_changed > 5000 && nr_refused > nr_changed / 2);
}

/* ---- hostile texts ---- */

static void what_is_no_json_is_refused(void **state)
{
	static const char *const bad[] = {
		"", " ", "[]", "1", "\"x\"", "null", "{", "{}}", HEAD, HEAD "}x", HEAD ",}", "{\"a\":\xff}",
		"{\"ociVersion\":\"\xc0\x80\"}", "{'ociVersion':1}", "{\"a\":NaN}", "{\"a\":\"\xed\xa0\x80\"}",
		"/* */" HEAD "}"
	};
	static const char nul[] = HEAD "}\0";
	struct config c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse_text(bad[i]) != -EINVAL)
			fail_msg("%s is taken", bad[i]);
	assert_int_equal(config_parse(&c, CONFIG_BUNDLE, nul, sizeof(nul) - 1, &error), -EINVAL);
	config_fini(&c);
	assert_int_equal(parse_text(HEAD "}\n \n"), 0);
}

static void what_is_large_is_refused(void **state)
{
	char *text = malloc(CONFIG_MAX_BYTES + 64);
	unsigned int n;
	size_t at;

	(void)state;
	/* Deep. */
	at = (size_t)sprintf(text, HEAD ",\"x\":");
	memset(text + at, '[', 100000);
	text[at + 100000] = '\0';
	assert_int_equal(parse_text(text), -EINVAL);
	/* Many. */
	at = (size_t)sprintf(text, HEAD ",\"linux\":{\"maskedPaths\":[\"/\"");
	for (n = 0; n < CONFIG_MAX_ITEMS; n++)
		at += (size_t)sprintf(text + at, ",\"/\"");
	strcpy(text + at, "]}}");
	refused(text, -EINVAL, "config.json: linux.maskedPaths: has more than 4096 items");
	/* Long. */
	at = (size_t)sprintf(text, HEAD ",\"x\":\"");
	memset(text + at, 'x', CONFIG_MAX_BYTES - at);
	strcpy(text + CONFIG_MAX_BYTES, "\"}");
	refused(text, -EINVAL, "config.json: it has more than 4194304 bytes");
	free(text);
}

static void pipes_have_a_bound(void **state)
{
	char *text = NULL;
	size_t bytes;
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], "{", 1), 1);
	assert_int_equal(config_read_file(ends[0], &text, &bytes), -ETIMEDOUT);
	close(ends[0]);
	close(ends[1]);
}

static void files_have_a_bound(void **state)
{
	int fd = memfd_create("large", MFD_CLOEXEC);
	size_t bytes;
	char *text;

	(void)state;
	assert_int_equal(ftruncate(fd, CONFIG_MAX_BYTES), 0);
	assert_int_equal(config_read_file(fd, &text, &bytes), 0);
	assert_int_equal(bytes, CONFIG_MAX_BYTES);
	free(text);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(ftruncate(fd, CONFIG_MAX_BYTES + 1), 0);
	assert_int_equal(config_read_file(fd, &text, &bytes), -EFBIG);
	close(fd);
	assert_int_equal(config_read_file(-1, &text, &bytes), -EBADF);
}

static void words_are_the_kernels(void **state)
{
	struct word_flags f;

	(void)state;
	assert_int_equal(words_capability("CAP_CHOWN"), CAP_CHOWN);
	assert_int_equal(words_capability("CAP_SYS_ADMIN"), CAP_SYS_ADMIN);
	assert_int_equal(words_capability("CAP_AUDIT_READ"), CAP_AUDIT_READ);
	assert_int_equal(words_capability("CAP_CHECKPOINT_RESTORE"), CAP_CHECKPOINT_RESTORE);
	assert_int_equal(words_capability("CHOWN"), -1);
	assert_int_equal(words_rlimit("RLIMIT_NOFILE"), RLIMIT_NOFILE);
	assert_int_equal(words_rlimit("RLIMIT_RTTIME"), RLIMIT_RTTIME);
	assert_int_equal(words_rlimit("RLIMIT_"), -1);
	assert_true(words_mount_option("rw", &f) && f.set == 0 && f.cleared == MS_RDONLY);
	assert_false(words_mount_option("size=1", &f) || words_mount_option("", &f));
	assert_true(words_is_shared_mount("rshared") && !words_is_shared_mount("rprivate"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_bundle_is_read),
		cmocka_unit_test(what_podman_runs),
		cmocka_unit_test(what_others_ask_for),
		cmocka_unit_test(wrong_values_are_named),
		cmocka_unit_test(what_cannot_be_done_is_named),
		cmocka_unit_test(what_an_annotation_names_is_ignored),
		cmocka_unit_test(annotations_are_obeyed_as_allowed),
		cmocka_unit_test(labels_of_the_host_are_noted),
		cmocka_unit_test(each_field_of_another_type),
		cmocka_unit_test(what_is_no_json_is_refused),
		cmocka_unit_test(what_is_large_is_refused),
		cmocka_unit_test(files_have_a_bound),
		cmocka_unit_test(pipes_have_a_bound),
		cmocka_unit_test(words_are_the_kernels),
	};

	return cmocka_run_group_tests_name("oci-config", tests, NULL, NULL);
}
