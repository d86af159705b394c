// SPDX-License-Identifier: GPL-2.0-only
/*
 * Containers: what config.json makes of a VM's plan, how containers are written down, and the holder,
 * with this test as its VM.
 * Has processes behind filters, which builds with sanitizers have not.
 */
#include "tests/lib/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "guest/gate.h"
#include "guest/protocol.h"
#include "io.h"
#include "log.h"
#include "oci/call.h"
#include "oci/cgroup.h"
#include "oci/config.h"
#include "oci/console.h"
#include "oci/device.h"
#include "oci/holder.h"
#include "oci/member.h"
#include "oci/network.h"
#include "oci/plan.h"
#include "oci/runtime.h"
#include "oci/scope.h"
#include "oci/store.h"
#include "util.h"

/* The guest's side of a plan. */
#include "guest/init-container.c"

void init_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vdprintf(STDOUT_FILENO, fmt, ap);
	va_end(ap);
	_exit(99);
}

void init_notice(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vdprintf(STDOUT_FILENO, fmt, ap);
	va_end(ap);
}

/* The guest has one. */
bool init_find_disk(const char serial[20], char path[80])
{
	strcpy(path, "/dev/null");
	return !strcmp(serial, "lkvm.device.0");
}

#define BUNDLES	    "tests/oci/bundles/"
#define PATIENCE_MS 10000

static struct config_error error;
static char dir[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/lkvm-oci-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char line[128];

	(void)state;
	snprintf(line, sizeof(line), "rm -rf %s", dir);
	return system(line);
}

/* ---- plans ---- */

/* The steps of a plan as lines: what, flags in hex and texts. */
static char *list_plan(const struct plan *p)
{
	static const char *const words[] = {
		"", "mount", "unmount", "directory", "file", "node", "link", "remove", "enter", "disk"
	};
	char *text = NULL;
	size_t bytes, at = 0;
	FILE *out = open_memstream(&text, &bytes);

	while (at < p->nr_bytes) {
		struct protocol_header h;
		struct protocol_step s;

		memcpy(&h, p->bytes + at, sizeof(h));
		at += sizeof(h);
		assert_true(h.bytes <= PROTOCOL_MAX_BYTES && h.bytes <= p->nr_bytes - at);
		if (h.kind == PROTOCOL_CREDENTIALS) {
			assert_int_equal(h.bytes, sizeof(struct protocol_credentials));
		} else if (h.kind == PROTOCOL_VOLUME) {
			assert_int_equal(h.bytes, sizeof(struct protocol_volume));
			fprintf(out, "volume %s %s\n", p->bytes + at,
				p->bytes + at + offsetof(struct protocol_volume, options));
		} else {
			assert_int_equal(h.kind, PROTOCOL_STEP);
			memcpy(&s, p->bytes + at, sizeof(s));
			assert_in_range(s.what, 1, ARRAY_SIZE(words) - 1);
			fprintf(out, "%s%s %llx", s.optional ? "-" : "", words[s.what],
				(unsigned long long)(s.what == PROTOCOL_DO_FILE ? (uint32_t)s.flags : s.flags));
			for (size_t i = sizeof(s); i < h.bytes; i++) {
				const char c = p->bytes[at + i];

				if (i == sizeof(s) || !p->bytes[at + i - 1])
					fputc(' ', out);
				if (c)
					fputc(c == '\n' ? '$' : c, out);
			}
			if (s.what == PROTOCOL_DO_FILE && s.flags & PROTOCOL_FILE_OWNED)
				fprintf(out, " %s %llo",
					((uint32_t)(s.flags >> 32) == getuid() && (uint32_t)(s.arg >> 32) == getgid()) ?
						"ours" :
						"others'",
					(unsigned long long)(s.arg & 07777));
			if (s.what == PROTOCOL_DO_NODE && gnu_dev_major((uint32_t)s.arg) > 5)
				fprintf(out, " %u %x:%x", (uint32_t)(s.arg >> 32), gnu_dev_major((uint32_t)s.arg),
					gnu_dev_minor((uint32_t)s.arg));
			fputc('\n', out);
		}
		at += h.bytes;
	}
	fclose(out);
	return text;
}

static const struct pod alone;

/* config.json of a process and of these members of the top. */
static int plan_text(struct config *c, struct plan *p, const char *members)
{
	char text[4096];
	int n = snprintf(text, sizeof(text), "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"/r\",\"readonly\":true},"
					     "\"process\":{\"cwd\":\"/w\",\"args\":[\"x\"],\"env\":[\"PATH=/bin:/sbin\",\"HOME=/h\"]}%s}",
			 members);

	if (config_parse(c, CONFIG_BUNDLE, text, (size_t)n, &error))
		fail_msg("%s", error.text);
	*error.text = '\0';
	return plan_make(p, c, &alone, "c1", &error);
}

#define SPACES	    "{\"type\":\"pid\"},{\"type\":\"network\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"}"
#define LINUX(more) ",\"linux\":{\"namespaces\":[" SPACES "]" more "}"

static void a_plan_is_in_order(void **state)
{
	struct config c;
	struct plan p;
	char *list, members[2048], file[96];

	(void)state;
	snprintf(file, sizeof(file), "%s/hosts", dir);
	write_file(file, "a\nb\n", 4);
	assert_int_equal(chmod(file, 0644), 0);
	/* clang-format off */
	snprintf(members, sizeof(members), ",\"mounts\":["
		 "{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"nosuid\"]},"
		 "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"options\":[\"mode=755\"]},"
		 "{\"destination\":\"/etc/hosts\",\"type\":\"bind\",\"source\":\"%s\",\"options\":[\"bind\",\"ro\"]},"
		 "{\"destination\":\"/v\",\"type\":\"bind\",\"source\":\"%s\",\"options\":[\"rbind\",\"ro\",\"nodev\"]},"
		 "{\"destination\":\"/run\",\"type\":\"tmpfs\",\"options\":[\"tmpcopyup\",\"size=1m\"]}]"
		 LINUX(",\"sysctl\":{\"net.ipv4.x\":\"1\"},\"resources\":{\"pids\":{\"limit\":9}},"
		       "\"maskedPaths\":[\"/proc/kcore\"],\"readonlyPaths\":[\"/proc/sys\"]"), file, dir);
	/* clang-format on */
	if (plan_text(&c, &p, members))
		fail_msg("%s", error.text);
	list = list_plan(&p);
	assert_string_equal(list,
			    "file 0 /sys/fs/cgroup/cgroup.subtree_control +pids\n"
			    "directory 0 /sys/fs/cgroup/container\n"
			    "file 0 /sys/fs/cgroup/container/pids.max 9\n"
			    "file 0 /sys/fs/cgroup/container/cgroup.procs 0\n"
			    "file 0 /proc/sys/net/ipv4/x 1\n"
			    "unmount 0 /sys\nunmount 0 /proc\n"
			    "mount 2 proc /proc proc \n"
			    "mount 0 tmpfs /dev tmpfs mode=755\n"
			    "node 21b6 /dev/null\nnode 21b6 /dev/zero\nnode 21b6 /dev/full\nnode 21b6 /dev/random\n"
			    "node 21b6 /dev/urandom\nnode 21b6 /dev/tty\n"
			    "link 0 /proc/self/fd /dev/fd\nlink 0 /proc/self/fd/0 /dev/stdin\n"
			    "link 0 /proc/self/fd/1 /dev/stdout\nlink 0 /proc/self/fd/2 /dev/stderr\n"
			    "link 0 pts/ptmx /dev/ptmx\n"
			    "file 2 /etc/hosts a$b$ ours 644\n"
			    "mount 1000 /etc/hosts /etc/hosts  \n"
			    "mount 1021  /etc/hosts  \n"
			    "mount 2000 /.lkvm/0 /v  \n"
			    "mount 1025  /v  \n"
			    "directory 0 /run\n"
			    "mount 0 tmpfs /.lkvm/t0 tmpfs size=1m\n"
			    "directory 0 /.lkvm/t0/u\n"
			    "directory 0 /.lkvm/t0/w\n"
			    "mount 0 tmpfs /run overlay lowerdir=/run,upperdir=/.lkvm/t0/u,workdir=/.lkvm/t0/w\n"
			    "unmount 0 /.lkvm/t0\nremove 0 /.lkvm/t0\nremove 0 /.lkvm/0\nremove 0 /.lkvm\n"
			    "-mount 1 tmpfs /proc/kcore tmpfs size=0k\n"
			    "-mount 1000 /dev/null /proc/kcore  \n"
			    "-mount 5000 /proc/sys /proc/sys  \n"
			    "-mount 102f  /proc/sys  \n"
			    "enter 0 /w\n"
			    "mount 1021  /  \n");
	assert_int_equal(p.nr_dirs, 1);
	assert_string_equal(p.dirs[0].host, dir);
	assert_string_equal(p.dirs[0].guest, "/.lkvm/0");
	/* What the engine gives, and of init's own nothing but HOME. */
	assert_int_equal(p.environment.nr, 5);
	assert_string_equal(p.environment.texts[2], "USER");
	free(list);
	plan_fini(&p);
	config_fini(&c);
}

/* ---- pods ---- */

static void parse_bundle(struct config *c, const char *name)
{
	char path[128], *text;
	size_t bytes;
	int fd;

	snprintf(path, sizeof(path), BUNDLES "%s.config.json", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(config_read_file(fd, &text, &bytes), 0);
	close(fd);
	assert_int_equal(config_parse(c, CONFIG_BUNDLE, text, bytes, &error), 0);
	free(text);
}

static void engines_say_who_is_in_a_pod(void **state)
{
	static const struct {
		const char *bundle;
		enum pod_role role;
		const char *sandbox;
	} cases[] = {
		{ "podman-run", POD_NONE, NULL },
		{ "ctr-rootfs", POD_NONE, NULL },
		{ "podman-network-container", POD_NONE, NULL },
		{ "podman-kube-infra", POD_SANDBOX, NULL },
		{ "cri-sandbox", POD_SANDBOX, NULL },
		{ "podman-kube-a", POD_MEMBER, "00000000c0ffee03" },
		{ "podman-kube-b-limits", POD_MEMBER, "00000000c0ffee02" },
		{ "podman-pod-share-pid", POD_MEMBER, "00000000c0ffee02" },
		{ "cri-container-a", POD_MEMBER, "00000000c0ffee01" },
		{ "cri-container-b", POD_MEMBER, "00000000c0ffee01" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c;
		struct pod p;

		parse_bundle(&c, cases[i].bundle);
		assert_int_equal(pod_find(&p, &c, &error), 0);
		assert_int_equal(p.role, cases[i].role);
		assert_int_equal(p.nr_spares, p.role == POD_SANDBOX ? POD_DEFAULT_CONTAINERS : 0);
		if (cases[i].sandbox)
			assert_string_equal(p.sandbox, cases[i].sandbox);
		config_fini(&c);
	}
}

static void a_pod_has_so_many_containers(void **state)
{
	static const struct {
		const char *annotations;
		int rc, spares;
	} cases[] = {
		{ "\"lkvm.max_containers\":\"3\"", 0, 3 },
		{ "\"lkvm.max_containers\":\"0\"", 0, 0 },
		{ "\"lkvm.max_containers\":\"16\"", 0, 16 },
		{ "\"lkvm.max_containers\":\"17\"", -EINVAL, 0 },
		{ "\"lkvm.max_containers\":\"-1\"", -EINVAL, 0 },
		{ "\"lkvm.max_containers\":\"3x\"", -EINVAL, 0 },
		{ "\"lkvm.max_containers\":\"\"", -EINVAL, 0 },
		{ "\"lkvm.max_containers\":\"99999999999999999999999\"", -EINVAL, 0 },
		{ "\"io.kubernetes.cri.container-type\":\"other\"", -EINVAL, 0 },
		{ "\"io.kubernetes.cri.container-type\":\"container\"", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[512];
		struct config c;
		struct pod p;
		int n = snprintf(text, sizeof(text), "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"/r\"},\"annotations\":{%s}}",
				 cases[i].annotations);

		assert_int_equal(config_parse(&c, CONFIG_BUNDLE, text, (size_t)n, &error), 0);
		assert_int_equal(config_check_annotations(&c, NULL, &error), 0);
		assert_int_equal(pod_find(&p, &c, &error), cases[i].rc);
		if (!cases[i].rc)
			assert_int_equal(p.nr_spares, cases[i].spares);
		config_fini(&c);
	}
}

static void ports_are_numbers_and_nothing_else(void **state)
{
	static const struct {
		const char *ports, *option; /* NULL: refused */
	} cases[] = {
		{ NULL, "mode=passt" },
		{ "", "mode=passt" },
		{ "  ", "mode=passt" },
		{ "80", "mode=passt,publish=0.0.0.0:80:80" },
		{ " 65535  53/udp ", "mode=passt,publish=0.0.0.0:65535:65535,publish=0.0.0.0:53:53/udp" },
		{ "0", NULL },
		{ "65536", NULL },
		{ "-1", NULL },
		{ "80,host=on", NULL },
		{ "80/tcp", NULL },
		{ "80/udpx", NULL },
		{ "/udp", NULL },
		{ "80:81", NULL },
		{ "080", "mode=passt,publish=0.0.0.0:80:80" },
		{ "00000000080", NULL },
		{ "80\n81", NULL },
	};
	char text[NETWORK_PASST_BYTES], ports[8 * (NETWORK_MAX_PORTS + 1)];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(network_passt_option(cases[i].ports, text), cases[i].option != NULL);
		if (cases[i].option)
			assert_string_equal(text, cases[i].option);
	}
	for (unsigned int nr = NETWORK_MAX_PORTS; nr <= NETWORK_MAX_PORTS + 1; nr++) {
		size_t used = 0;

		for (unsigned int i = 0; i < nr; i++)
			used += (size_t)snprintf(ports + used, sizeof(ports) - used, "%u ", 60000 + i);
		assert_int_equal(network_passt_option(ports, text), nr == NETWORK_MAX_PORTS);
	}
}

static void a_scope_is_named_by_three(void **state)
{
	static const struct {
		const char *given, *name, *slice; /* NULL: refused */
	} cases[] = {
		{ "machine.slice:libpod:abc", "libpod-abc.scope", "machine.slice" },
		{ ":crio:abc", "crio-abc.scope", "system.slice" },
		{ "a-b.slice::abc", "abc.scope", "a-b.slice" },
		{ "a.slice:p:x:y", "p-x:y.scope", "a.slice" },
		{ "-.slice:-p:x", "-p-x.scope", "-.slice" },
		{ "machine.slice:libpod", NULL, NULL },
		{ "a.slice:p:", NULL, NULL },
		{ "a.slice:p:x/y", NULL, NULL },
		{ "a.scope:p:x", NULL, NULL },
		{ "../x.slice:p:x", NULL, NULL },
		{ ".slice:p:x", NULL, NULL },
		{ "a.slice:p:x y", NULL, NULL },
		{ "", NULL, NULL },
		{ "::", NULL, NULL },
		{ "a.slice:p:\xc3\xa4", NULL, NULL },
	};
	char name[SCOPE_MAX_NAME], slice[SCOPE_MAX_NAME], large[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(scope_find_name(cases[i].given, name, slice, &error), cases[i].name ? 0 : -EINVAL);
		if (!cases[i].name)
			continue;
		assert_string_equal(name, cases[i].name);
		assert_string_equal(slice, cases[i].slice);
	}
	for (size_t at = 0; at < 3; at++) { /* each part is too long */
		char parts[3][304] = { "", "", "" };

		memset(parts[at], 'x', 300);
		snprintf(large, sizeof(large), "%sa.slice:%sp:%sx", parts[0], parts[1], parts[2]);
		assert_int_equal(scope_find_name(large, name, slice, &error), -EINVAL);
	}
}

static void assert_command(const struct scope_command *s, const char *words)
{
	char text[2048] = "";

	assert_null(s->argv[s->nr]);
	for (unsigned int i = 7; i < s->nr; i++) /* without busctl's own */
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i == 7 ? "" : " ", s->argv[i]);
	assert_string_equal(text, words);
}

static void systemd_hears_of_each_limit(void **state)
{
	const struct config_resources none = { 0 }, all = {
		.memory_bytes = 1 << 20,
		.swap_bytes = 3 << 20,
		.reservation_bytes = 4096,
		.cpu_shares = 1024,
		.cpu_quota_us = 150000,
		.cpu_period_us = 100000,
		.cpus = "0,7,9-10",
		.mems = "0",
		.pids = 5,
	},
				      unlimited = { .cpu_quota_us = -1 }, huge = { .cpu_quota_us = INT64_MAX };
	struct scope_command s;

	(void)state;
	scope_write_start(&s, "n.scope", "s.slice", &none, 77);
	assert_command(&s, "StartTransientUnit ssa(sv)a(sa(sv)) n.scope fail 6 Description s a container in a virtual machine "
			   "Slice s s.slice CollectMode s inactive-or-failed DefaultDependencies b false Delegate b true "
			   "PIDs au 1 77 0");
	scope_write_start(&s, "n.scope", "s.slice", &all, 1);
	assert_command(&s, "StartTransientUnit ssa(sv)a(sa(sv)) n.scope fail 14 Description s a container in a virtual machine "
			   "Slice s s.slice CollectMode s inactive-or-failed DefaultDependencies b false Delegate b true "
			   "MemoryMax t 135266304 MemorySwapMax t 2097152 MemoryLow t 4096 CPUQuotaPerSecUSec t 1500000 "
			   "CPUQuotaPeriodUSec t 100000 CPUWeight t 39 AllowedCPUs ay 2 129 6 AllowedMemoryNodes ay 1 1 "
			   "PIDs au 1 1 0");
	scope_write_update(&s, "n.scope", &unlimited);
	assert_command(&s, "SetUnitProperties sba(sv) n.scope true 1 CPUQuotaPerSecUSec t 18446744073709551615");
	assert_string_equal(s.argv[5], "/org/freedesktop/systemd1");
	assert_string_equal(s.argv[2], "--"); /* names are no options */
	scope_write_update(&s, "n.scope", &huge);
	assert_command(&s, "SetUnitProperties sba(sv) n.scope true 1 CPUQuotaPerSecUSec t 18446744073709551615");
}

/* The largest has room, and what is no list is said before anybody is asked. */
static void sets_of_cpus_are_lists(void **state)
{
	static const char *const bad[] = { "a", "1-", "2-1", "1,", ",1", "0-1024", "99999999999999999999", "-1", "1 2", "1--2" };
	struct config_resources r = { .cpus = "0-1023", .mems = "1023" };
	struct scope_command s;

	(void)state;
	assert_int_equal(scope_check_sets(&r, &error), 0);
	scope_write_start(&s, "n.scope", "s.slice", &r, 77);
	assert_true(s.nr < SCOPE_MAX_ARGUMENTS && s.used < sizeof(s.text) - 8);
	assert_string_equal(s.argv[s.nr - 1], "0");
	assert_string_equal(s.argv[s.nr - 2], "77");
	r.mems = "";
	assert_int_equal(scope_check_sets(&r, &error), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		r.cpus = bad[i];
		assert_int_equal(scope_check_sets(&r, &error), -EINVAL);
		assert_non_null(strstr(error.text, "linux.resources.cpu.cpus: "));
		assert_int_equal(scope_update("/x/n.scope", &r, &error), -EINVAL);
	}
}

/* A systemd that does not answer: busctl is ended, and no keeper of ours waits. */
static void a_systemd_that_does_not_answer(void **state)
{
	static const char script[] = "#!/bin/sh\necho $$ >\"$7\"\nexec sleep 1000\n";
	const struct config_resources r = { .cpu_shares = 2 };
	char path[96], said[96];
	struct scope_command s;
	char *end;
	long pid;

	(void)state;
	snprintf(path, sizeof(path), "%s/busctl", dir);
	snprintf(said, sizeof(said), "%s/busctl.pid", dir);
	write_file(path, script, strlen(script));
	assert_int_equal(chmod(path, 0755), 0);
	scope_write_update(&s, "n.scope", &r);
	assert_int_equal(s.patience_ns, 15000000000ull);
	s.argv[0] = path;
	s.argv[7] = said;
	s.patience_ns = 1000000000;
	assert_int_equal(scope_ask(&s, "n.scope", &error), -ETIMEDOUT);
	assert_string_equal(error.text, "systemd: n.scope: it does not answer; the engine's cgroup manager cgroupfs does without "
					"systemd");
	pid = strtol(run_in(dir, "cat busctl.pid"), &end, 10);
	assert_true(pid > 1);
	assert_int_equal(kill((pid_t)pid, 0), -1);
	unlink(path);
	unlink(said);
}

/* What busctl says is told, and nothing stays. */
static void a_scope_that_systemd_refuses(void **state)
{
	static const char script[] = "#!/bin/sh\necho \"$7 of $9: no\" >&2\necho more >&2\nexit 1\n";
	char folder[] = "/tmp/lkvm-scope-XXXXXX", path[64], place[PATH_MAX];
	char *old = strdup(getenv("PATH"));
	struct config c = { .cgroups_path = "a.slice:p:x" };
	struct scope s = SCOPE_NONE;
	pid_t keeper;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/busctl", folder);
	f = fopen(path, "we");
	fputs(script, f);
	fclose(f);
	chmod(path, 0755);
	setenv("PATH", folder, 1);
	assert_int_equal(scope_make(&s, &c, place, &error), -EIO);
	assert_string_equal(error.text, "systemd: p-x.scope: StartTransientUnit of p-x.scope: no; the engine's cgroup "
					"manager cgroupfs does without systemd");
	keeper = s.keeper;
	assert_int_equal(kill(keeper, 0), 0);
	scope_release(&s);
	assert_int_equal(kill(keeper, 0), -1);
	unlink(path);
	assert_int_equal(scope_make(&s, &c, place, &error), -ENOENT);
	scope_release(&s);
	c.cgroups_path = "/a/path";
	assert_int_equal(scope_make(&s, &c, place, &error), -EINVAL);
	scope_release(&s);
	setenv("PATH", old, 1);
	free(old);
	rmdir(folder);
}

/* Of the pod, its own, or one that nobody has named: this process is the sandbox's. */
static void a_pods_namespaces_are_its_sandboxs(void **state)
{
	static const struct {
		const char *net, *ipc, *uts, *pid;
		int rc;
		bool own_ipc, own_uts, shared_pids;
	} cases[] = {
		{ "self", "self", "self", NULL, 0, false, false, false },
		{ "self", NULL, NULL, "self", 0, true, true, true },
		{ NULL, "self", "self", NULL, -ENOTSUP, false, false, false },
		{ "self", "self", "net", NULL, -ENOTSUP, false, false, false },
		{ "none", "self", "self", NULL, -ENOTSUP, false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *const given[] = { cases[i].net, cases[i].ipc, cases[i].uts, cases[i].pid };
		static const enum config_namespace_kind kinds[] = {
			CONFIG_NS_NETWORK, CONFIG_NS_IPC, CONFIG_NS_UTS, CONFIG_NS_PID
		};
		static const char *const names[] = { "net", "ipc", "uts", "pid" };
		struct pod p = { .role = POD_MEMBER };
		struct config c = { 0 };
		char paths[4][64];

		for (int k = 0; k < 4; k++) {
			const bool other = given[k] && strcmp(given[k], "self") != 0;

			c.namespaces[kinds[k]].given = true;
			if (!given[k])
				continue;
			snprintf(paths[k], sizeof(paths[k]), "/proc/self/ns/%s", other ? given[k] : names[k]);
			c.namespaces[kinds[k]].path = paths[k];
		}
		assert_int_equal(pod_check_spaces(&p, &c, getpid(), &error), cases[i].rc);
		if (cases[i].rc)
			continue;
		assert_int_equal(p.own_ipc, cases[i].own_ipc);
		assert_int_equal(p.own_uts, cases[i].own_uts);
		assert_int_equal(p.shared_pids, cases[i].shared_pids);
	}
}

/* One that joins has a group of its own in the guest, and whose rights it has is told elsewhere. */
static void limits_of_a_member_are_the_guests(void **state)
{
	static const struct pod pod = { .role = POD_MEMBER, .own_uts = true };
	struct config c;
	struct plan p;
	unsigned int nr_mounts;
	char *list, *at;

	(void)state;
	parse_bundle(&c, "cri-container-a");
	nr_mounts = c.nr_mounts;
	c.nr_mounts = 0;
	c.hostname = "own";
	assert_int_equal(plan_make(&p, &c, &pod, "m.1", &error), 0);
	list = list_plan(&p);
	at = strstr(list, "enter ");
	assert_non_null(at);
	*at = '\0';
	assert_string_equal(list,
			    "-file 0 /sys/fs/cgroup/cgroup.subtree_control +memory\n"
			    "-file 0 /sys/fs/cgroup/cgroup.subtree_control +cpu\n"
			    "-file 0 /sys/fs/cgroup/cgroup.subtree_control +pids\n"
			    "-directory 0 /sys/fs/cgroup/container.m.1\n"
			    "-file 0 /sys/fs/cgroup/container.m.1/memory.max 67108864\n"
			    "-file 0 /sys/fs/cgroup/container.m.1/cpu.max 50000 100000\n"
			    "-file 0 /sys/fs/cgroup/container.m.1/cpu.weight 20\n"
			    "-file 0 /sys/fs/cgroup/container.m.1/cgroup.procs 0\n"
			    "file 0 /proc/sys/kernel/hostname own\n"
			    "unmount 0 /sys\nunmount 0 /proc\n");
	free(list);
	plan_fini(&p);
	c.nr_mounts = nr_mounts;
	config_fini(&c);
}

/* A directory of the host that is as kubelet makes them; its place has to be all of this. */
static void an_empty_dir_is_the_pods(void **state)
{
	static const char *const others[] = {
		"volumes/kubernetes.io~empty-dir/a/b",
		"volumes/kubernetes.io~empty-dir/A",
		"volumes/kubernetes.io~empty-dir/..",
		"volumes/kubernetes.io~empty-dir",
		"volumes/kubernetes.io~host-path/a",
		"kubernetes.io~empty-dir/a",
		"../volumes/kubernetes.io~empty-dir/a",
		"deep/er/volumes/kubernetes.io~empty-dir/a",
		"./volumes/kubernetes.io~empty-dir/a",
	};
	static const struct pod none = { .role = POD_NONE }, member = { .role = POD_MEMBER };
	struct config_mount m[2] = { { .type = "bind", .flags = MS_BIND | MS_REC | MS_NOSUID, .data = NULL }, { 0 } };
	char line[256], paths[2][160], wanted[1024], options[64], *list;
	struct config c = { .has_process = true, .process.cwd = "/", .nr_mounts = 2, .mounts = m };
	struct plan p;

	(void)state;
	run_in(dir, "mkdir -p pods/u/kubernetes.io~empty-dir/a pods/u/volumes/kubernetes.io~host-path/a "
		    "pods/volumes/kubernetes.io~empty-dir/a pods/u/deep/er/volumes/kubernetes.io~empty-dir/a; "
		    "cd pods/u/volumes; mkdir kubernetes.io~empty-dir; cd kubernetes.io~empty-dir; mkdir -p a/b A c.1; chmod 2770 c.1");
	snprintf(paths[0], sizeof(paths[0]), "%s/pods/u/volumes/kubernetes.io~empty-dir/c.1", dir);
	snprintf(options, sizeof(options), "mode=2770,uid=%u,gid=%u,size=50%%", getuid(), getgid());
	m[0].source = paths[0];
	m[0].destination = "/w";
	m[1] = m[0];
	m[1].destination = "/r";
	m[1].flags |= MS_RDONLY;
	assert_int_equal(plan_make(&p, &c, &member, "m", &error), 0);
	list = list_plan(&p);
	snprintf(wanted, sizeof(wanted), "unmount 0 /proc\nvolume c.1 %s\nmount 2000 /.lkvm/v0 /w  \nmount 1022  /w  \n"
					 "volume c.1 %s\nmount 2000 /.lkvm/v1 /r  \nmount 1023  /r  \nremove 0 /.lkvm/v0\nremove 0 /.lkvm/v1\n"
					 "remove 0 /.lkvm\nenter",
		 options, options);
	if (!strstr(list, wanted))
		fail_msg("%s", list);
	free(list);
	plan_fini(&p);
	/* Without a pod it is a directory of the host, which nobody else would see written. */
	c.nr_mounts = 1;
	for (int i = 0; i < CONFIG_NR_NAMESPACES; i++)
		c.namespaces[i].given = true;
	assert_int_equal(plan_make(&p, &c, &none, "m", &error), -ENOTSUP);
	assert_non_null(strstr(error.text, "/w: a directory of the host cannot be written from a VM"));
	plan_fini(&p);
	/* What is in it would not be seen. */
	snprintf(line, sizeof(line), "touch '%s/x'", paths[0]);
	run_in(dir, line);
	assert_int_equal(plan_make(&p, &c, &member, "m", &error), -ENOTSUP);
	assert_non_null(strstr(error.text, "mounts: /w: an emptyDir is in the VM's memory, and this one has files"));
	plan_fini(&p);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		snprintf(paths[1], sizeof(paths[1]), "%s/pods/u/%s", dir, others[i]);
		m[0].source = paths[1];
		assert_int_equal(plan_make(&p, &c, &member, "m", &error), -ENOTSUP);
		if (!strstr(error.text, "/w: a directory of the host cannot be written from a VM"))
			fail_msg("%s: %s", others[i], error.text);
		plan_fini(&p);
	}
	run_in(dir, "rm -r pods");
}

static void large_files_come_in_parts(void **state)
{
	struct config c;
	struct plan p;
	char members[512], file[96], *list, *at;
	unsigned int nr = 0;
	int fd;

	(void)state;
	snprintf(file, sizeof(file), "%s/large", dir);
	fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0755);
	assert_int_equal(ftruncate(fd, 200000), 0);
	snprintf(members, sizeof(members),
		 ",\"mounts\":[{\"destination\":\"/dev/init\",\"type\":\"bind\",\"source\":\"%s\"}]" LINUX(""), file);
	assert_int_equal(plan_text(&c, &p, members), 0);
	list = list_plan(&p);
	for (at = list; (at = strstr(at, "file ")); at++)
		nr++;
	assert_int_equal(nr, 4);
	assert_non_null(strstr(list, "file 2 /dev/init"));
	assert_non_null(strstr(list, "\nfile 1 /dev/init"));
	free(list);
	plan_fini(&p);
	config_fini(&c);
	assert_int_equal(ftruncate(fd, PLAN_MAX_FILE_BYTES + 1), 0);
	assert_int_equal(plan_text(&c, &p, members), -EFBIG);
	plan_fini(&p);
	config_fini(&c);
	close(fd);
}

/* The copy of one that engines make is the container's; of a volume it would be lost without a word. */
static void files_are_written_by_engines_alone(void **state)
{
	static const struct {
		const char *destination, *options;
		int rc;
	} cases[] = {
		{ "/data.db", "\"rbind\",\"rw\"", -ENOTSUP },
		{ "/data.db", "\"bind\"", -ENOTSUP },
		{ "/data.db", "\"bind\",\"ro\"", 0 },
		{ "/etc/hosts", "\"rbind\",\"rw\"", 0 },
		{ "/etc/resolv.conf", "\"rw\",\"bind\"", 0 },
		{ "/run/.containerenv", "\"bind\"", 0 },
		{ "/run/secrets/s", "\"bind\"", 0 },
		{ "/run/secrets/../../data.db", "\"bind\"", -ENOTSUP },
		{ "/etc/hosts2", "\"bind\"", -ENOTSUP },
		{ "/run/secrets", "\"bind\"", -ENOTSUP },
	};
	char members[512], file[96], wanted[96], *list;
	struct config c;
	struct plan p;

	(void)state;
	snprintf(file, sizeof(file), "%s/data", dir);
	write_file(file, "x", 1);
	assert_int_equal(chmod(file, 0400), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(members, sizeof(members),
			 ",\"mounts\":[{\"destination\":\"%s\",\"source\":\"%s\",\"options\":"
			 "[%s]}]" LINUX(""),
			 cases[i].destination, file, cases[i].options);
		if (plan_text(&c, &p, members) != cases[i].rc)
			fail_msg("%s %s: %s", cases[i].destination, cases[i].options, error.text);
		if (cases[i].rc && !strstr(error.text, ": a file of the host cannot be written from a VM; it can be read"))
			fail_msg("%s: %s", cases[i].destination, error.text);
		if (!cases[i].rc) {
			snprintf(wanted, sizeof(wanted), "file 2 %s x ours 400\n", cases[i].destination);
			list = list_plan(&p);
			if (!strstr(list, wanted))
				fail_msg("no %s in %s", wanted, list);
			free(list);
		}
		plan_fini(&p);
		config_fini(&c);
	}
}

/* The file system that engines make for it, not what a user puts there. */
static void shared_memory_is_a_tmpfs(void **state)
{
	char members[512], line[128], *list;
	struct config c;
	struct plan p;

	(void)state;
	snprintf(members, sizeof(members), ",\"mounts\":[{\"destination\":\"/dev/shm\",\"source\":\"%s\",\"options\":"
					   "[\"rbind\"]}]" LINUX(""),
		 dir);
	assert_int_equal(plan_text(&c, &p, members), -ENOTSUP);
	assert_non_null(strstr(error.text, "mounts: /dev/shm: a directory of the host cannot be written"));
	plan_fini(&p);
	config_fini(&c);
	if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("shm", dir, "tmpfs", 0, "size=640k")) {
		print_message("no mounts here\n");
		return;
	}
	assert_int_equal(plan_text(&c, &p, members), 0);
	assert_int_equal(umount(dir), 0);
	list = list_plan(&p);
	snprintf(line, sizeof(line), "mount 0 shm /dev/shm tmpfs mode=1777,size=%u\n", 640u << 10);
	assert_non_null(strstr(list, line));
	free(list);
	plan_fini(&p);
	config_fini(&c);
}

static void what_a_vm_cannot_do_is_said(void **state)
{
	static const struct {
		const char *members, *words;
	} cases[] = {
		{ LINUX(",\"seccomp\":{\"defaultAction\":\"x\"}"), "linux.seccomp: defaultAction: \"x\": lkvm cannot do this" },
		{ LINUX(",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}"), "\"SCMP_ACT_NOTIFY\": lkvm cannot" },
		{ LINUX(",\"seccomp\":{}"), "linux.seccomp: defaultAction: is missing" },
		{ LINUX(",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[1]}"), "syscalls: has what is no object" },
		{ LINUX(",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],"
			"\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":65536}]}"),
		  "errnoRet: is no error's number" },
		{ LINUX(",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],"
			"\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":6,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]}]}"),
		  "args: index is not from 0 to 5" },
		{ LINUX(",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"x\"]}"), "flags: \"x\": lkvm cannot" },
		{ "", "linux.namespaces: a VM cannot share the host's processes" },
		{ ",\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"}]}",
		  "linux.namespaces: a VM cannot share the host's network" },
		{ ",\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},"
		  "{\"type\":\"network\",\"path\":\"/proc/7/ns/net\"}]}",
		  "sharing another container's network is not there" },
		{ ",\"mounts\":[{\"destination\":\"/v\",\"source\":\"/\",\"options\":[\"bind\"]}]" LINUX(""),
		  "mounts: /v: a directory of the host cannot be written from a VM" },
		{ ",\"mounts\":[{\"destination\":\"/v\",\"source\":\"/dev/null\",\"options\":[\"bind\"]}]" LINUX(""),
		  "mounts: /dev/null: sockets, pipes and devices" },
		{ ",\"mounts\":[{\"destination\":\"/v\",\"source\":\"/nix\",\"options\":[\"bind\"]}]" LINUX(""),
		  "mounts: /nix: cannot be opened (it is not there)" },
		{ ",\"mounts\":[{\"destination\":\"/v\",\"type\":\"nfs\"}]" LINUX(""), "the type \"nfs\" cannot be mounted" },
		{ LINUX(",\"sysctl\":{\"../x\":\"1\"}"), "linux.sysctl: \"../x\" is no name" },
		{ LINUX(",\"sysctl\":{\"\":\"1\"}"), "linux.sysctl: \"\" is no name" },
		/* clang-format off */
		{ ",\"mounts\":[{\"destination\":\"/dev\",\"type\":\"tmpfs\"}]"
		  LINUX(",\"devices\":[{\"path\":\"/dev/sda\",\"type\":\"b\",\"major\":8,\"minor\":0}]"),
		  "linux.devices: /dev/sda: the disk 8:0 " },
		{ ",\"mounts\":[{\"destination\":\"/dev\",\"type\":\"tmpfs\"}]"
		  LINUX(",\"devices\":[{\"path\":\"/dev/x\",\"type\":\"b\",\"major\":4095,\"minor\":7}]"),
		  "the disk 4095:7 cannot be lent: the host has none of this number in /dev; the annotation lkvm.ignore" },
		{ ",\"mounts\":[{\"destination\":\"/dev\",\"type\":\"tmpfs\"}]"
		  LINUX(",\"devices\":[{\"path\":\"/dev/x\",\"type\":\"b\",\"major\":4095,\"minor\":7}],"
			"\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]}"),
		  "the disk 4095:7 may not be read, as linux.resources.devices says" },
		/* clang-format on */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c;
		struct plan p;

		if (!plan_text(&c, &p, cases[i].members) || !strstr(error.text, cases[i].words))
			fail_msg("%s: \"%s\", not \"%s\"", cases[i].members, error.text, cases[i].words);
		plan_fini(&p);
		config_fini(&c);
	}
}

/* As config.json says, which need not say a mode. */
static void devices_have_owner_and_mode(void **state)
{
	struct config c;
	struct plan p;
	char *list;

	(void)state;
	/* clang-format off */
	assert_int_equal(plan_text(&c, &p, ",\"mounts\":[{\"destination\":\"/dev\",\"type\":\"tmpfs\"}]"
		LINUX(",\"devices\":[{\"path\":\"/dev/a\",\"type\":\"c\",\"major\":10,\"minor\":300},{\"path\":\"/dev/b\","
		      "\"type\":\"c\",\"major\":10,\"minor\":1,\"fileMode\":0,\"uid\":5,\"gid\":6}]")), 0);
	list = list_plan(&p);
	assert_non_null(strstr(list, "node 21b6 /dev/a 0 a:12c\nnode 500002000 /dev/b 6 a:1\n"));
	free(list);
	plan_fini(&p);
	config_fini(&c);
	assert_int_equal(plan_text(&c, &p, ",\"mounts\":[{\"destination\":\"/dev\",\"type\":\"tmpfs\"}]"
		LINUX(",\"devices\":[{\"path\":\"/dev/a\",\"type\":\"c\",\"major\":4096,\"minor\":0}]")), -EINVAL);
	/* clang-format on */
	plan_fini(&p);
	config_fini(&c);
}

/* Also where config.json mounts nothing on /dev, and so it stays init's. */
static void a_disk_needs_no_dev_of_its_own(void **state)
{
	struct config c;
	struct plan p;

	(void)state;
	assert_int_equal(plan_text(&c, &p, LINUX(",\"devices\":[{\"path\":\"/dev/x\",\"type\":\"b\",\"major\":4095,\"minor\":7}]")),
			 -ENOTSUP);
	assert_non_null(strstr(error.text, "linux.devices: /dev/x: the disk 4095:7 cannot be lent"));
	plan_fini(&p);
	config_fini(&c);
	/* What is named as one that all have is not passed over, either. */
	assert_int_equal(plan_text(&c, &p, ",\"mounts\":[{\"destination\":\"/dev\",\"type\":\"tmpfs\"}]" LINUX(",\"devices\":[{\"path\":\"/dev/null\",\"type\":\"b\",\"major\":4095,\"minor\":7}]")),
			 -ENOTSUP);
	assert_non_null(strstr(error.text, "linux.devices: /dev/null: the disk 4095:7 cannot be lent"));
	plan_fini(&p);
	config_fini(&c);
}

/* In the guest, whose root it is. */
static void the_root_is_shared_in_the_vm(void **state)
{
	static const struct {
		const char *word;
		unsigned long flags;
	} cases[] = {
		{ "shared", MS_SHARED },
		{ "rslave", MS_SLAVE | MS_REC },
		{ "private", MS_PRIVATE },
		{ "runbindable", MS_UNBINDABLE | MS_REC },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char members[512], wanted[64], *list;
		struct config c;
		struct plan p;

		snprintf(members, sizeof(members), LINUX(",\"rootfsPropagation\":\"%s\""), cases[i].word);
		assert_int_equal(plan_text(&c, &p, members), 0);
		list = list_plan(&p);
		snprintf(wanted, sizeof(wanted), "\nmount %lx  /  \nmount 1021  /  \n", cases[i].flags);
		if (!strstr(list, wanted))
			fail_msg("%s", list);
		free(list);
		plan_fini(&p);
		config_fini(&c);
	}
}

/* The last rule about it counts, letter by letter; without any it is the container's. */
static void access_to_a_disk_is_as_the_rules_say(void **state)
{
	static const struct {
		const char *rules;
		unsigned int access;
	} cases[] = {
		{ "", DEVICE_READ | DEVICE_WRITE },
		{ "{\"allow\":false,\"access\":\"rwm\"}", 0 },
		{ "{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,\"type\":\"b\",\"major\":8,\"minor\":16,\"access\":\"r\"}", DEVICE_READ },
		{ "{\"allow\":false},{\"allow\":true,\"type\":\"b\",\"major\":8,\"access\":\"rwm\"}", DEVICE_READ | DEVICE_WRITE },
		{ "{\"allow\":false},{\"allow\":true,\"type\":\"b\",\"major\":8,\"minor\":17,\"access\":\"rwm\"}", 0 },
		{ "{\"allow\":false},{\"allow\":true,\"type\":\"c\",\"major\":8,\"minor\":16,\"access\":\"rwm\"}", 0 },
		{ "{\"allow\":true,\"access\":\"rwm\"},{\"allow\":false,\"type\":\"b\",\"access\":\"w\"}", DEVICE_READ },
		{ "{\"allow\":true,\"type\":\"a\",\"major\":-1,\"minor\":-1,\"access\":\"m\"}", 0 },
	};
	const struct config_device d = { .type = 'b', .major = 8, .minor = 16 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c;
		struct plan p;
		char members[512];

		snprintf(members, sizeof(members), LINUX(",\"resources\":{\"devices\":[%s]}"), cases[i].rules);
		assert_int_equal(plan_text(&c, &p, members), 0);
		if (device_access(&c, &d) != cases[i].access)
			fail_msg("%s", cases[i].rules);
		plan_fini(&p);
		config_fini(&c);
	}
}

/* What the kernel calls it has to be that disk, and not only a name. */
static void a_disk_is_found_by_its_number(void **state)
{
	static const char *const lines[] = {
		"MAJOR=8\nDEVNAME=null\n",
		"DEVNAME=\n",
		"DEVNAME=../dev/null\n",
		"DEVNAME=a,ro\n",
		"MAJOR=8\n",
		"DEVNAME=nix",
	};
	const struct config_device d = { .type = 'b', .major = 8, .minor = 16 };
	char file[96], path[DEVICE_PATH_BYTES];

	(void)state;
	assert_int_equal(device_claim(dir, &d, path), -ENODEV);
	run_in(dir, "mkdir 8:16");
	snprintf(file, sizeof(file), "%s/8:16/uevent", dir);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		write_file(file, lines[i], strlen(lines[i]));
		assert_int_equal(device_claim(dir, &d, path), -ENODEV);
	}
	run_in(dir, "rm -r 8:16");
}

/* ---- lists of system calls ---- */

#define RULE(calls, action, args) "{\"names\":[\"" calls "\"],\"action\":\"SCMP_ACT_" action "\"" args "}"
#define ARGS(list)		  ",\"args\":[" list "]"
#define CHECK(i, op, v)		  "{\"index\":" i ",\"op\":\"SCMP_CMP_" op "\",\"value\":" v "}"

static int plan_seccomp(struct config *c, struct plan *p, const char *otherwise, const char *rules)
{
	char members[2048];

	snprintf(members, sizeof(members), LINUX(",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_%s\",\"syscalls\":[%s]}"),
		 otherwise, rules);
	return plan_text(c, p, members);
}

static void lists_that_would_be_weaker_are_refused(void **state)
{
	static const struct {
		const char *otherwise, *rules, *words;
	} cases[] = {
		/* clang-format off */
		{ "ALLOW", RULE("no_such_call", "ERRNO", ""), "\"no_such_call\": the host's libseccomp does not know" },
		{ "ALLOW", "{\"name\":\"read\",\"action\":\"SCMP_ACT_ERRNO\"}", "name: lkvm does not know it" },
		{ "ALLOW", "{\"action\":\"SCMP_ACT_ERRNO\"}", "a rule has no names" },
		{ "ALLOW", "{\"names\":[],\"action\":\"SCMP_ACT_ERRNO\"}", "a rule has no names" },
		{ "ERRNO", RULE("read", "ALLOW", ",\"arg\":[" CHECK("0", "EQ", "1") "]"), "arg: lkvm does not know it" },
		{ "ERRNO", RULE("read", "ALLOW", ARGS("{\"index\":0,\"op\":\"SCMP_CMP_EQ\",\"valeu\":1}")),
		  "valeu: lkvm does not know it" },
		{ "ERRNO", RULE("read", "ALLOW", ARGS(CHECK("0", "GE", "10") "," CHECK("0", "LE", "20"))),
		  "args: of read: one argument is there twice" },
		{ "ERRNO", RULE("read", "ALLOW", "") "," RULE("read", "KILL", ARGS(CHECK("0", "EQ", "1"))),
		  "two rules for read" },
		{ "ERRNO", RULE("read", "KILL", ARGS(CHECK("0", "EQ", "1"))) "," RULE("read", "ALLOW", ""),
		  "two rules for read" },
		{ "ERRNO", RULE("read", "ALLOW", ARGS(CHECK("0", "GE", "1"))) "," RULE("read", "KILL", ARGS(CHECK("0", "EQ", "1"))),
		  "two rules for read" },
		/* Of these libseccomp makes programs that allow more, and of the last one none, ever. */
		{ "ERRNO", RULE("read", "ALLOW", ARGS("{\"index\":0,\"value\":1,\"valueTwo\":2,\"op\":\"SCMP_CMP_MASKED_EQ\"}")),
		  "valueTwo has bits" },
		{ "ERRNO", RULE("read", "ALLOW", ARGS(CHECK("1", "LE", "3"))) ","
		  RULE("read", "ALLOW", ARGS(CHECK("1", "GE", "4294967297"))), "libseccomp mixes up" },
		{ "ALLOW", RULE("read", "ERRNO", ARGS(CHECK("0", "LE", "1") "," CHECK("0", "GE", "8"))), "libseccomp mixes up" },
		{ "ERRNO", RULE("read", "ALLOW", ARGS(CHECK("0", "EQ", "4294967296"))) "],\"architectures\":[\"SCMP_ARCH_X86\"",
		  "would look at the lower half" },
		{ "LOG", RULE("read", "TRAP", ARGS(CHECK("1", "EQ", "1") "," CHECK("0", "NE", "2"))) ","
		  RULE("read", "TRAP", ARGS(CHECK("0", "EQ", "18"))), "libseccomp mixes up" },
		{ "TRACE", RULE("write", "KILL", ARGS(CHECK("1", "EQ", "0") "," CHECK("0", "EQ", "3"))) ","
		  RULE("write", "KILL", ARGS(CHECK("1", "NE", "0"))), "libseccomp mixes up" },
		{ "KILL", RULE("clone", "TRACE", ARGS(CHECK("1", "GE", "4294967297") "," CHECK("0", "GT", "4294967297"))) ","
		  RULE("clone", "ALLOW", ARGS(CHECK("1", "EQ", "2147483648") "," CHECK("0", "GT", "4294967297"))),
		  "libseccomp mixes up" },
		/* clang-format on */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c;
		struct plan p;

		if (!plan_seccomp(&c, &p, cases[i].otherwise, cases[i].rules) || !strstr(error.text, cases[i].words))
			fail_msg("%s: \"%s\", not \"%s\"", cases[i].rules, error.text, cases[i].words);
		plan_fini(&p);
		config_fini(&c);
	}
}

/* What personality(@value) comes to under the plan's list: an error, or 0; -1: it is killed. */
static int personality_under(const struct plan *p, unsigned long value)
{
	const struct protocol_header *h = (const void *)p->bytes;
	static struct sock_filter code[BPF_MAXINSNS];
	struct sock_fprog program = { .filter = code };
	int status;
	pid_t pid;

	while (h->kind != PROTOCOL_SECCOMP)
		h = (const void *)((const char *)(h + 1) + h->bytes);
	program.len = (unsigned short)((h->bytes - sizeof(struct protocol_seccomp)) / sizeof(*code));
	memcpy(code, (const char *)(h + 1) + sizeof(struct protocol_seccomp), program.len * sizeof(*code));
	pid = fork();
	if (!pid) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
			_exit(99);
		status = syscall(SYS_personality, value) < 0 ? errno : 0;
		syscall(SYS_exit_group, status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void of_two_rules_the_stricter_counts(void **state)
{
	static const struct {
		const char *otherwise, *rules;
		unsigned long value;
		int result;
	} cases[] = {
		/* clang-format off */
		{ "ERRNO", RULE("personality", "ALLOW", "") "," RULE("personality", "KILL", ""), 0, -1 },
		{ "ERRNO", RULE("personality", "KILL", "") "," RULE("personality", "ALLOW", ""), 0, -1 },
		{ "ERRNO", RULE("personality", "ALLOW", "") "," RULE("personality", "ERRNO", ",\"errnoRet\":7"), 0, 7 },
		{ "ERRNO", RULE("personality", "ALLOW", "") "," RULE("personality", "ERRNO", ""), 0, EPERM },
		{ "ERRNO", RULE("personality", "ALLOW", ARGS(CHECK("0", "EQ", "0"))) ","
		  RULE("personality", "KILL", ARGS(CHECK("0", "EQ", "0"))), 0, -1 },
		/* Those that are apart are both kept. */
		{ "ERRNO", RULE("personality", "ALLOW", ARGS(CHECK("0", "EQ", "0"))) ","
		  RULE("personality", "ERRNO", ",\"errnoRet\":9" ARGS(CHECK("0", "EQ", "8"))), 0, 0 },
		{ "ERRNO", RULE("personality", "ALLOW", ARGS(CHECK("0", "EQ", "0"))) ","
		  RULE("personality", "ERRNO", ",\"errnoRet\":9" ARGS(CHECK("0", "EQ", "8"))), 8, 9 },
		/* What is the default is no rule; alternatives forbid both. */
		{ "ALLOW", RULE("personality", "ALLOW", "") "," RULE("personality", "ERRNO", ARGS(CHECK("0", "EQ", "8"))), 8,
		  EPERM },
		{ "ALLOW", RULE("personality", "ERRNO", ARGS(CHECK("0", "EQ", "1") "," CHECK("0", "EQ", "8"))), 8, EPERM },
		{ "ALLOW", RULE("personality", "ERRNO", ARGS(CHECK("0", "EQ", "0") "," CHECK("0", "EQ", "8"))), 0, EPERM },
		{ "ERRNO", RULE("no_such_call\",\"personality", "ALLOW", ""), 0, 0 },
		/* clang-format on */
	};
	char rules[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c;
		struct plan p;
		int result;

		snprintf(rules, sizeof(rules), "%s%s", *cases[i].otherwise == 'E' ? RULE("exit_group", "ALLOW", "") "," : "",
			 cases[i].rules);
		if (plan_seccomp(&c, &p, cases[i].otherwise, rules))
			fail_msg("%s: %s", rules, error.text);
		result = personality_under(&p, cases[i].value);
		if (result != cases[i].result)
			fail_msg("%s: %d, not %d", rules, result, cases[i].result);
		plan_fini(&p);
		config_fini(&c);
	}
}

/* podman's own list, with its pairs, is one. */
static void the_list_of_an_engine_is_taken(void **state)
{
	struct config_error why;
	struct config c;
	struct plan p;
	unsigned int nr;
	size_t bytes;
	char *text;
	int fd = open(BUNDLES "podman-run.config.json", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(config_read_file(fd, &text, &bytes), 0);
	close(fd);
	assert_int_equal(config_parse(&c, CONFIG_BUNDLE, text, bytes, &why), 0);
	nr = c.nr_mounts;
	c.nr_mounts = 0; /* they are not here */
	if (plan_make(&p, &c, &alone, "c1", &why))
		fail_msg("%s", why.text);
	c.nr_mounts = nr;
	assert_int_equal(personality_under(&p, 7), 38);
	assert_int_equal(personality_under(&p, 8), 0);
	plan_fini(&p);
	config_fini(&c);
	free(text);
}

static void programs_are_found_in_the_root(void **state)
{
	static const struct {
		const char *args, *cwd;
		int rc;
	} cases[] = {
		{ "sh", "/", 0 },
		{ "/bin/sh", "/", 0 },
		{ "bin/sh", "/", 0 },
		{ "./sh", "/bin", 0 },
		{ "inside", "/", 0 },
		{ "outside", "/", -ENOENT },
		{ "nix", "/", -ENOENT },
		{ "/bin", "/", -EACCES },
		{ "/bin/text", "/", -EACCES },
		{ "text", "/", -EACCES },
		{ "/run/any", "/", 0 },
		{ "/runner", "/", -ENOENT },
	};
	char line[600];
	int fd;

	(void)state;
	snprintf(line, sizeof(line), "cd %s && mkdir -p root/bin && echo x >root/bin/sh && chmod 755 root/bin/sh && "
				     "echo x >root/bin/text && chmod 644 root/bin/text && ln -s /bin/sh root/bin/inside && "
				     "ln -s %s/here root/bin/outside && cp root/bin/sh here",
		 dir, dir);
	assert_int_equal(system(line), 0);
	snprintf(line, sizeof(line), "%s/root", dir);
	fd = open(line, O_PATH | O_DIRECTORY);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[512];
		struct config c;

		snprintf(text, sizeof(text), "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"/r\"},\"mounts\":[{\"destination\":"
					     "\"/run\",\"type\":\"tmpfs\"}],\"process\":{\"cwd\":\"%s\",\"args\":[\"%s\"],\"env\":[\"PATH=/no:/bin\"]}}",
			 cases[i].cwd, cases[i].args);
		assert_int_equal(config_parse(&c, CONFIG_BUNDLE, text, strlen(text), &error), 0);
		if (plan_find_program(&c, fd, &error) != cases[i].rc)
			fail_msg("%s in %s is not %d", cases[i].args, cases[i].cwd, cases[i].rc);
		config_fini(&c);
	}
	assert_string_equal(error.text, "executable file \"/runner\" not found: No such file or directory");
	close(fd);
}

/* ---- a plan, taken as a guest does, in namespaces of this machine ---- */

static void hear_plan(struct init_plan *to, const struct plan *p)
{
	for (size_t at = 0; at < p->nr_bytes;) {
		struct protocol_header h;

		memcpy(&h, p->bytes + at, sizeof(h));
		at += sizeof(h);
		if (h.kind == PROTOCOL_STEP)
			init_add_step(to, p->bytes + at, h.bytes);
		else if (h.kind == PROTOCOL_SECCOMP)
			init_set_seccomp(to, p->bytes + at, h.bytes);
		else
			init_set_credentials(to, p->bytes + at, h.bytes);
		at += h.bytes;
	}
}

__attribute__((noreturn)) static void be_guest(const struct config *c, const struct plan *p, const char *root)
{
	static struct init_plan plan;
	int rc;

	if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount(root, root, NULL, MS_BIND, NULL) ||
	    chdir(root) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/") ||
	    mount("proc", "/proc", "proc", 0, NULL) || mount("sys", "/sys", "sysfs", 0, NULL))
		init_fail("the test cannot make a root: %s", strerror(errno));
	hear_plan(&plan, p);
	init_take_steps(&plan);
	rc = init_become(&plan);
	if (rc)
		init_fail("rights: %s", strerror(rc));
	execve(c->process.args.texts[0], (char *const *)(void *)c->process.args.texts,
	       (char *const *)(void *)c->process.env.texts);
	init_fail("execve: %s", strerror(errno));
}

/* What the container says; NULL where there can be no namespaces. */
static const char *run_in_namespaces(const struct config *c, const struct plan *p, const char *root)
{
	static char said[8192];
	int ends[2], status;
	ssize_t n;
	size_t at = 0;
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = (pid_t)syscall(SYS_clone,
			     CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | SIGCHLD,
			     0, 0, 0, 0);
	if (!pid) {
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		be_guest(c, p, root);
	}
	close(ends[1]);
	while (pid > 0 && (n = read(ends[0], said + at, sizeof(said) - 1 - at)) > 0)
		at += (size_t)n;
	said[at] = '\0';
	close(ends[0]);
	if (pid < 0) {
		print_message("no namespaces here\n");
		return NULL;
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return said;
}

static void a_plan_makes_a_container(void **state)
{
	static const char text[] = "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"/r\",\"readonly\":true},"
				   "\"process\":{\"cwd\":\"/w/d\",\"args\":[\"/bin/sh\",\"-c\",\"%s\"],\"env\":[\"PATH=/bin\"],"
				   "\"user\":{\"uid\":7,\"gid\":8,\"umask\":63,\"additionalGids\":[9]},\"noNewPrivileges\":true,"
				   "\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":50,\"hard\":60}],\"capabilities\":{"
				   "\"bounding\":[\"CAP_CHOWN\",\"CAP_KILL\"],\"permitted\":[\"CAP_KILL\"],\"effective\":[\"CAP_KILL\"],"
				   "\"inheritable\":[\"CAP_KILL\"],\"ambient\":[\"CAP_KILL\"]}},"
				   "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\"},"
				   "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"options\":[\"mode=755\",\"size=65536k\"]},"
				   "{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\"},"
				   "{\"destination\":\"/etc/hosts\",\"type\":\"bind\",\"source\":\"%s/hosts\",\"options\":[\"ro\"]},"
				   "{\"destination\":\"/run\",\"type\":\"tmpfs\",\"options\":[\"mode=777\",\"size=1m\",\"nodev\"]}],"
				   "\"linux\":{\"namespaces\":[" SPACES "],\"maskedPaths\":[\"/proc/version\",\"/proc/fs\",\"/proc/none\"],"
				   "\"readonlyPaths\":[\"/proc/sys\",\"/proc/nothing\"],\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\","
				   "\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"],\"syscalls\":["
				   "{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":95}]}}}";
	static const char script[] = "id -u; id -g; id -G; umask; pwd; ulimit -n; ulimit -Hn; "
				     "grep -E '^(Cap(Eff|Bnd|Amb)|NoNewPrivs)' /proc/self/status | tr '\\t' ' '; echo $$; cd /dev; echo *; "
				     "cat /etc/hosts; wc -c </proc/version; ls /proc/fs; (echo x >/x) 2>/dev/null || echo ro; "
				     "(echo x >/proc/sys/kernel/hostname) 2>/dev/null || echo ro; echo y >/run/y; cat /run/y; ls -A /; ls -A /sys; mkdir /run/d 2>&1; grep Seccomp: /proc/self/status | tr '\\t' ' '";
	char members[4096], line[1024], root[96];
	const char *said;
	struct config c;
	struct plan p;
	int n;

	(void)state;
	snprintf(root, sizeof(root), "%s/guest", dir);
	snprintf(line, sizeof(line), "mkdir -p %s/bin %s/etc %s/proc %s/sys && cp /bin/busybox %s/bin/ && "
				     "for l in sh id ls cat grep tr wc mkdir; do ln -s busybox %s/bin/$l; done; echo of-the-engine >%s/hosts",
		 root, root, root, root, root, root, dir);
	assert_int_equal(system(line), 0);
	n = snprintf(members, sizeof(members), text, script, dir);
	if (config_parse(&c, CONFIG_BUNDLE, members, (size_t)n, &error) || plan_make(&p, &c, &alone, "c1", &error))
		fail_msg("%s", error.text);
	said = is_real_root() ? run_in_namespaces(&c, &p, root) : NULL; /* it has devices */
	if (said)
		assert_string_equal(said, "7\n8\n8 9\n0077\n/w/d\n50\n60\nCapEff: 0000000000000020\n"
					  "CapBnd: 0000000000000021\nCapAmb: 0000000000000020\nNoNewPrivs: 1\n1\n"
					  "fd full mqueue null ptmx random stderr stdin stdout tty urandom zero\n"
					  "of-the-engine\n0\nro\nro\ny\n"
					  "bin\ndev\netc\nproc\nrun\nsys\nw\n"
					  "mkdir: can't create directory '/run/d': Operation not supported\nSeccomp: 2\n");
	plan_fini(&p);
	config_fini(&c);
}

/* ---- what is written down ---- */

static void ids_are_names(void **state)
{
	char longest[STORE_MAX_ID_BYTES + 2];

	(void)state;
	memset(longest, 'a', sizeof(longest));
	longest[STORE_MAX_ID_BYTES + 1] = '\0';
	assert_false(store_is_id(longest));
	longest[STORE_MAX_ID_BYTES] = '\0';
	assert_true(store_is_id(longest) && store_is_id("a_B+c-1.x") && store_is_id("..."));
	assert_false(store_is_id("") || store_is_id(".") || store_is_id("..") || store_is_id("a/b") ||
		     store_is_id("a b") || store_is_id("\xc3\xa9"));
}

static int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void a_record_is_kept(void **state)
{
	const struct store_record r = {
		.bundle = "/b \"x\"",
		.cgroup = "/sys/fs/cgroup/x",
		.holder = { 7, 123456789012ull },
		.vm = { 8, 9 },
		.started = true,
		.network = "/n",
	},
				  part = { .bundle = "/b", .creating = true };
	struct store_container c, again;
	struct store_record read;
	char root[96];

	(void)state;
	snprintf(root, sizeof(root), "%s/store/deep", dir);
	assert_int_equal(store_find(&again, root, "a", false), -ENOENT);
	store_close(&again);
	assert_int_equal(store_create(&c, root, "a"), 0);
	assert_int_equal(store_load(&c, &read), -ENOENT);
	assert_int_equal(store_save(&c, &r), 0);
	assert_int_equal(store_load(&c, &read), 0);
	assert_memory_equal(&read.holder, &r.holder, sizeof(r.holder));
	assert_string_equal(read.bundle, r.bundle);
	assert_true(read.started && !read.paused && read.vm.pid == 8 && !read.creating);
	assert_string_equal(read.network, "/n");
	assert_int_equal(store_save(&c, &part), 0);
	assert_int_equal(store_load(&c, &read), 0);
	assert_true(read.creating && !read.holder.pid && !read.vm.pid);
	store_close(&c);
	assert_int_equal(store_create(&again, root, "a"), -EEXIST);
	store_close(&again);
	assert_int_equal(store_find(&again, root, "a", true), 0);
	assert_int_equal(store_remove(&again), 0);
	store_close(&again);
	assert_int_equal(store_find(&again, root, "a", false), -ENOENT);
	store_close(&again);
	/* What a create has left that was killed. */
	assert_int_equal(store_create(&c, root, "a"), 0);
	store_close(&c);
	assert_int_equal(store_create(&c, root, "a"), 0);
	assert_int_equal(store_remove(&c), 0);
	store_close(&c);
	run_in(root, "mkdir a");
	assert_int_equal(store_find(&c, root, "a", true), -ENOENT);
	store_close(&c);
	assert_string_equal(run_in(root, "ls"), "");
	assert_int_equal(store_create(&c, root, "../a"), -EINVAL);
	store_close(&c);
}

/* How often it was there, of many times that one is made and removed; -1: that went wrong. */
static int make_and_remove(const char *root)
{
	const struct store_record r = { .bundle = "/", .holder = { 7, 1 }, .vm = { 8, 9 } };
	int nr = 0;

	for (int i = 0; i < 2000; i++) {
		struct store_container c;
		int rc = store_create(&c, root, "a");

		if ((rc && rc != -EEXIST) || (!rc && (store_save(&c, &r) || store_remove(&c)))) {
			print_message("%d: %s\n", i, strerror(-rc));
			return -1;
		}
		nr += rc == -EEXIST;
		store_close(&c);
		/* Of somebody who is late. */
		rc = i % 2 ? store_find(&c, root, "a", true) : -ENOENT;
		if (!rc && !store_load(&c, &(struct store_record){ .bundle = "" }))
			rc = store_remove(&c);
		if (rc && rc != -ENOENT) {
			print_message("%d: found: %s\n", i, strerror(-rc));
			return -1;
		}
		store_close(&c);
	}
	return nr;
}

/* Engines remove a container and make it again, in other processes. */
static void the_same_id_is_free_at_once(void **state)
{
	char root[96];
	pid_t pid;

	(void)state;
	snprintf(root, sizeof(root), "%s/same", dir);
	pid = fork();
	if (!pid)
		_exit(make_and_remove(root) < 0);
	assert_true(make_and_remove(root) >= 0);
	assert_int_equal(status_of(pid), 0);
	assert_string_equal(run_in(root, "ls -A"), "");
}

/* What would be read as none is not written. */
static void a_record_has_a_bound(void **state)
{
	struct store_record r = { .cgroup = "", .holder = { 7, 1 }, .vm = { 8, 9 }, .cgroup_made = true }, read;
	struct store_container c;

	(void)state;
	assert_int_equal(store_create(&c, dir, "bound"), 0);
	assert_int_equal(store_save(&c, &r), 0);
	memset(r.bundle, 1, sizeof(r.bundle) - 1); /* each a \u0001 */
	memset(r.cgroup, 1, sizeof(r.cgroup) - 1);
	assert_int_equal(store_save(&c, &r), -EFBIG);
	assert_int_equal(store_load(&c, &read), 0);
	assert_true(read.cgroup_made && read.holder.pid == 7 && !*read.bundle);
	assert_string_equal(run_in(dir, "ls bound | tr '\\n' ' '"), "lock record ");
	assert_int_equal(store_remove(&c), 0);
	store_close(&c);
}

static void bad_records_are_none(void **state)
{
	static const char *const bad[] = {
		"", "{}", "[]", "{\"v\":1,\"bundle\":\"/b\",\"cgroup\":\"\"}",
		"{\"v\":1,\"bundle\":\"/b\",\"cgroup\":\"\",\"network\":\"\",\"pid\":0,\"pid_start\":1,\"vm\":1,\"vm_start\":1}",
		"{\"v\":1,\"bundle\":\"/b\",\"cgroup\":\"\",\"network\":\"\",\"pid\":-1,\"pid_start\":1,\"vm\":1,\"vm_start\":1}",
		"{\"v\":1,\"bundle\":\"/b\",\"cgroup\":\"\",\"network\":\"\",\"pid\":4294967297,\"pid_start\":1,\"vm\":1,\"vm_start\":1}",
		"{\"v\":1,\"bundle\":1,\"cgroup\":\"\",\"network\":\"\",\"pid\":1,\"pid_start\":1,\"vm\":1,\"vm_start\":1}"
	};
	struct store_container c;
	struct store_record r;
	char path[128];

	(void)state;
	assert_int_equal(store_create(&c, dir, "bad"), 0);
	snprintf(path, sizeof(path), "%s/bad/record", dir);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		write_file(path, bad[i], strlen(bad[i]));
		assert_int_equal(store_load(&c, &r), -EINVAL);
	}
	assert_int_equal(store_remove(&c), 0);
	store_close(&c);
}

static void processes_are_told_apart(void **state)
{
	pid_t pid = fork();
	struct store_process p, other;

	(void)state;
	if (!pid) {
		pause();
		_exit(0);
	}
	p = other = store_process_of(pid);
	other.start++;
	assert_true(store_is_alive(&p) && !store_is_alive(&other));
	store_kill(&other, SIGKILL);
	assert_false(store_wait(&p, 50000000));
	store_kill(&p, SIGKILL);
	assert_true(store_wait(&p, 5000000000ull));
	assert_false(store_is_alive(&p)); /* it waits for us */
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	p = (struct store_process){ 0 };
	assert_false(store_is_alive(&p));
	store_kill(&p, SIGKILL); /* nobody, most of all not everybody */
	assert_true(store_wait(&p, 0));
}

/* ---- the holder ---- */

struct held {
	pid_t pid;
	int gate, status, caller, listener; /* this side */
	char place[96];
};

static bool start_holder(struct held *h)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	static const char *const command[] = { "x", NULL };
	int gate[2], status[2], caller[2];
	struct holder_config c = { .network = -1, .hostname = "held", .command = command };

	snprintf(h->place, sizeof(h->place), "%s/place", dir);
	mkdir(h->place, 0755);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/socket", dir);
	unlink(a.sun_path);
	h->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(h->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(h->listener, 4), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, gate), 0);
	assert_int_equal(pipe2(status, O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, caller), 0);
	c.listener = h->listener;
	c.gate = gate[0];
	c.status = status[0];
	c.caller = caller[1];
	c.place = h->place;
	h->pid = holder_start(&c);
	close(gate[0]);
	close(status[0]);
	close(caller[1]);
	close(h->listener);
	h->gate = gate[1];
	h->status = status[1];
	h->caller = caller[0];
	if (h->pid > 0)
		return true;
	assert_int_equal(h->pid, -EPERM); /* an ordinary user, where there are no user namespaces */
	print_message("no namespaces here\n");
	return false;
}

static void say_to_holder(const struct held *h, enum gate_kind kind, uint32_t value)
{
	const struct gate_message m = { kind, value };

	assert_int_equal(socket_send(h->gate, &m, sizeof(m)), sizeof(m));
}

static void hear_of_holder(const struct held *h, enum gate_kind kind, uint32_t value)
{
	struct pollfd p = { .fd = h->gate, .events = POLLIN };
	struct gate_message m;

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(socket_recv(h->gate, &m, sizeof(m)), sizeof(m));
	assert_int_equal(m.kind, kind);
	assert_int_equal(m.value, value);
}

static int ask_holder(enum holder_kind kind, uint32_t value)
{
	const struct holder_request r = { kind, value };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/socket", dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(socket_send(fd, &r, sizeof(r)), sizeof(r));
	return fd;
}

static int answer_of(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct holder_answer a = { 1 };

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(socket_recv(fd, &a, sizeof(a)), sizeof(a));
	close(fd);
	return a.rc;
}

/* It has said that it is ready. */
static void become_known(const struct held *h)
{
	char byte;

	assert_int_equal(read(h->caller, &byte, 1), 1);
	assert_int_equal(byte, 'R');
	assert_int_equal(write(h->caller, "W", 1), 1);
	assert_int_equal(read(h->caller, &byte, 1), 0);
}

static void become_ready(const struct held *h)
{
	say_to_holder(h, GATE_READY, 0);
	become_known(h);
}

static void start_container(const struct held *h)
{
	int fd;

	become_ready(h);
	fd = ask_holder(HOLDER_START, 0);
	hear_of_holder(h, GATE_GO, 0);
	say_to_holder(h, GATE_STARTED, 0);
	assert_int_equal(answer_of(fd), 0);
}

/* The VM's end: its status, or none. The holder's is as @wanted. */
static void end_holder(struct held *h, int said, int wanted)
{
	const uint8_t byte = (uint8_t)said;
	int status;

	if (said >= 0)
		assert_int_equal(write(h->status, &byte, 1), 1);
	close(h->status);
	assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), wanted);
	close(h->gate);
	close(h->caller);
}

static void a_holder_ends_as_its_vm(void **state)
{
	struct held h;

	(void)state;
	if (!start_holder(&h))
		return;
	start_container(&h);
	assert_int_equal(answer_of(ask_holder(HOLDER_START, 0)), -EALREADY);
	end_holder(&h, 42, 42);
	assert_true(start_holder(&h));
	start_container(&h);
	end_holder(&h, -1, 137);
}

static void a_holder_shows_nothing(void **state)
{
	struct held h;
	char path[64], *text;

	(void)state;
	if (!start_holder(&h))
		return;
	become_ready(&h);
	snprintf(path, sizeof(path), "/proc/%d/root", h.pid);
	assert_string_equal(run_in(path, "ls -A"), "proc\n");
	assert_string_equal(run_in(path, "ls -d proc/[0-9]*"), "proc/1\n");
	text = run_in(path, "touch x 2>&1");
	assert_non_null(strstr(text, "Read-only file system"));
	snprintf(path, sizeof(path), "/proc/%d", h.pid);
	assert_string_equal(run_in(path, "grep -cE '^(Cap(Inh|Prm|Eff|Bnd|Amb):.0*|NoNewPrivs:.1)$' status"), "6\n");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_string_equal(run_in(path, "grep Seccomp: status | cut -f2"), "2\n");
#endif
	snprintf(path, sizeof(path), "/proc/%d/root", h.pid);
	/* Its /proc has files of the host's kernel. */
	text = run_in(path, "exec 2>&1; : >>proc/sys/kernel/core_pattern");
	assert_non_null(strstr(text, "Read-only file system"));
	snprintf(path, sizeof(path), "/proc/%d", h.pid);
	assert_string_equal(run_in(path, "readlink fd/0 fd/1 fd/2 | sort -u"), "/dev/null\n");
	/* The streams, the socket, the gate, the status and signals; nothing that strayed in. */
	assert_string_equal(run_in(path, "ls fd | wc -l"), "7\n");
	end_holder(&h, 0, 0);
}

static void signals_reach_the_guest(void **state)
{
	struct held h;

	(void)state;
	if (!start_holder(&h))
		return;
	start_container(&h);
	assert_int_equal(answer_of(ask_holder(HOLDER_SIGNAL, SIGTERM)), 0);
	hear_of_holder(&h, GATE_SIGNAL, SIGTERM);
	assert_int_equal(kill(h.pid, SIGUSR1), 0);
	hear_of_holder(&h, GATE_SIGNAL, SIGUSR1);
	assert_int_equal(answer_of(ask_holder(HOLDER_SIGNAL, 65)), -EINVAL);
	assert_int_equal(answer_of(ask_holder(99, 0)), -EINVAL);
	end_holder(&h, 143, 143);
}

static void clients_are_passed_on(void **state)
{
	const struct holder_request r = { HOLDER_EXEC, 0 };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct gate_message m;
	struct pollfd p;
	struct held h;
	int ends[2], passed, fd;
	char byte = 'x';

	(void)state;
	if (!start_holder(&h))
		return;
	start_container(&h);
	assert_int_equal(answer_of(ask_holder(HOLDER_EXEC, 0)), -EINVAL); /* nothing is passed */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/socket", dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(socket_send_fd(fd, &r, sizeof(r), ends[1]), sizeof(r));
	assert_int_equal(answer_of(fd), 0);
	close(ends[1]);
	p = (struct pollfd){ .fd = h.gate, .events = POLLIN };
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(socket_recv_fd(h.gate, &m, sizeof(m), &passed, NULL), sizeof(m));
	assert_int_equal(m.kind, GATE_EXEC);
	assert_int_equal(write(passed, &byte, 1), 1);
	close(passed); /* the holder has kept none */
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	end_holder(&h, 0, 0);
}

static bool gate_has_ended(const struct held *h)
{
	struct pollfd p = { .fd = h->gate, .events = POLLIN };
	char byte;

	return poll(&p, 1, PATIENCE_MS) == 1 && socket_recv(h->gate, &byte, 1) == 0;
}

static void a_kill_ends_the_vm(void **state)
{
	struct held h;

	(void)state;
	if (!start_holder(&h))
		return;
	start_container(&h);
	assert_int_equal(answer_of(ask_holder(HOLDER_SIGNAL, SIGKILL)), 0);
	assert_true(gate_has_ended(&h));
	assert_int_equal(answer_of(ask_holder(HOLDER_SIGNAL, SIGTERM)), -ESRCH);
	end_holder(&h, 125, 137);
	/* Before it has started any other does, too. */
	assert_true(start_holder(&h));
	become_ready(&h);
	assert_int_equal(answer_of(ask_holder(HOLDER_SIGNAL, SIGTERM)), 0);
	assert_true(gate_has_ended(&h));
	end_holder(&h, 125, 143);
	/* And its own end. */
	assert_true(start_holder(&h));
	start_container(&h);
	kill(h.pid, SIGKILL);
	assert_true(gate_has_ended(&h));
	assert_int_equal(waitpid(h.pid, NULL, 0), h.pid);
}

static void a_start_that_fails_is_told(void **state)
{
	struct held h;
	int fd;

	(void)state;
	if (!start_holder(&h))
		return;
	become_ready(&h);
	fd = ask_holder(HOLDER_START, 0);
	hear_of_holder(&h, GATE_GO, 0);
	say_to_holder(&h, GATE_NOT_STARTED, ENOENT);
	assert_int_equal(answer_of(fd), -ENOENT);
	end_holder(&h, 127, 127);
	/* Numbers that are no errors are none of success, either. */
	for (unsigned int i = 0; i < 3; i++) {
		assert_true(start_holder(&h));
		become_ready(&h);
		fd = ask_holder(HOLDER_START, 0);
		hear_of_holder(&h, GATE_GO, 0);
		say_to_holder(&h, GATE_NOT_STARTED, i == 2 ? 4096 : 0x7fffffffu + i);
		assert_int_equal(answer_of(fd), -EPROTO);
		fd = ask_holder(HOLDER_PAUSE, 0);
		hear_of_holder(&h, GATE_PAUSE, 0);
		say_to_holder(&h, GATE_PAUSED, 0xffffffffu - i);
		assert_int_equal(answer_of(fd), -EPROTO);
		end_holder(&h, 0, 0);
	}
	/* A VM that ends instead of starting it. */
	assert_true(start_holder(&h));
	become_ready(&h);
	fd = ask_holder(HOLDER_START, 0);
	hear_of_holder(&h, GATE_GO, 0);
	close(h.gate);
	h.gate = -1;
	assert_int_equal(write(h.status, "\xff", 1), 1);
	assert_int_equal(answer_of(fd), -ESRCH);
	end_holder(&h, -1, 255);
}

static void a_pause_is_answered(void **state)
{
	struct held h;
	int fd;

	(void)state;
	if (!start_holder(&h))
		return;
	start_container(&h);
	fd = ask_holder(HOLDER_PAUSE, 0);
	hear_of_holder(&h, GATE_PAUSE, 0);
	say_to_holder(&h, GATE_PAUSED, ETIMEDOUT);
	assert_int_equal(answer_of(fd), -ETIMEDOUT);
	assert_int_equal(answer_of(ask_holder(HOLDER_RESUME, 0)), 0);
	hear_of_holder(&h, GATE_RESUME, 0);
	/* A client that leaves is forgotten. */
	close(ask_holder(HOLDER_PAUSE, 0));
	hear_of_holder(&h, GATE_PAUSE, 0);
	assert_int_equal(answer_of(ask_holder(HOLDER_RESUME, 0)), 0);
	end_holder(&h, 0, 0);
}

static int connect_silently(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/socket", dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void clients_are_not_in_the_way(void **state)
{
	int silent, start;
	struct held h;

	(void)state;
	if (!start_holder(&h))
		return;
	become_ready(&h);
	silent = connect_silently();
	start = ask_holder(HOLDER_START, 0); /* which its VM leaves unanswered */
	hear_of_holder(&h, GATE_GO, 0);
	assert_int_equal(answer_of(ask_holder(HOLDER_STATE, 0)), 0);
	assert_int_equal(answer_of(ask_holder(HOLDER_START, 0)), -EBUSY);
	assert_int_equal(answer_of(ask_holder(HOLDER_SIGNAL, SIGWINCH)), 0);
	hear_of_holder(&h, GATE_SIGNAL, SIGWINCH);
	say_to_holder(&h, GATE_STARTED, 0);
	assert_int_equal(answer_of(start), 0);
	close(silent);
	end_holder(&h, 0, 0);
}

static void the_holder_knows_its_state(void **state)
{
	struct held h;
	int fd;

	(void)state;
	if (!start_holder(&h))
		return;
	start_container(&h);
	assert_int_equal(answer_of(ask_holder(HOLDER_STATE, 0)), HOLDER_IS_STARTED);
	fd = ask_holder(HOLDER_PAUSE, 0);
	hear_of_holder(&h, GATE_PAUSE, 0);
	say_to_holder(&h, GATE_PAUSED, 0);
	assert_int_equal(answer_of(fd), 0);
	assert_int_equal(answer_of(ask_holder(HOLDER_STATE, 0)), HOLDER_IS_STARTED | HOLDER_IS_PAUSED);
	assert_int_equal(answer_of(ask_holder(HOLDER_RESUME, 0)), 0);
	assert_int_equal(answer_of(ask_holder(HOLDER_STATE, 0)), HOLDER_IS_STARTED);
	/* One whose VM does not run is not waited for. */
	assert_int_equal(answer_of(ask_holder(HOLDER_PAUSE, HOLDER_UNHEARD)), 0);
	assert_int_equal(answer_of(ask_holder(HOLDER_STATE, 0)), HOLDER_IS_STARTED | HOLDER_IS_PAUSED);
	hear_of_holder(&h, GATE_RESUME, 0);
	hear_of_holder(&h, GATE_PAUSE, 0);
	say_to_holder(&h, GATE_PAUSED, ENOTSUP);
	assert_int_equal(answer_of(ask_holder(HOLDER_STATE, 0)), HOLDER_IS_STARTED);
	/* A VM that does not hear any more is one that ends. */
	close(h.gate);
	h.gate = -1;
	assert_int_equal(answer_of(ask_holder(HOLDER_SIGNAL, SIGTERM)), -ESRCH);
	end_holder(&h, 0, 0);
}

static void without_its_caller_it_ends(void **state)
{
	struct held h;
	char byte;

	(void)state;
	if (!start_holder(&h))
		return;
	close(h.caller);
	h.caller = -1;
	assert_true(gate_has_ended(&h));
	end_holder(&h, -1, 137);
	/* Ready, but nobody has written it down. */
	assert_true(start_holder(&h));
	say_to_holder(&h, GATE_READY, 0);
	assert_int_equal(read(h.caller, &byte, 1), 1);
	close(h.caller);
	h.caller = -1;
	assert_true(gate_has_ended(&h));
	end_holder(&h, -1, 137);
}

/* ---- exec, with this test as the VM ---- */

/* Descriptors of the caller are as an engine leaves them; what it says is in "said". */
static pid_t call_exec_beside(const char *process, bool detach)
{
	char title[] = "lkvm-oci exec --process /a/b/c", file[96], pid_file[96], said[96], root[96];
	const struct call_exec args = {
		.process = file,
		.pid_file = pid_file,
		.detach = detach,
		.id = "c",
	};
	struct call call = { .title = title, .title_bytes = sizeof(title) };
	pid_t pid;

	snprintf(file, sizeof(file), "%s/process", dir);
	snprintf(pid_file, sizeof(pid_file), "%s/pid", dir);
	snprintf(said, sizeof(said), "%s/said", dir);
	snprintf(root, sizeof(root), "%s/containers", dir);
	write_file(file, process, strlen(process));
	strcpy(call.root, root);
	unlink(pid_file);
	pid = fork();
	if (!pid) {
		int out = open(said, O_RDWR | O_CREAT | O_TRUNC, 0600), in = open("/dev/null", O_RDONLY);

		dup2(in, 0);
		dup2(out, 1);
		dup2(out, 2);
		_exit(call_exec(&call, &args));
	}
	return pid;
}

static void write_down_container(const struct held *h, bool started)
{
	struct store_container c;
	struct store_record r = { .bundle = "/", .started = started };
	char root[96], from[96], to[128];

	snprintf(root, sizeof(root), "%s/containers", dir);
	assert_int_equal(store_create(&c, root, "c"), 0);
	r.holder = r.vm = store_process_of(h->pid);
	assert_int_equal(store_save(&c, &r), 0);
	snprintf(from, sizeof(from), "%s/socket", dir);
	snprintf(to, sizeof(to), "%s/c/socket", root);
	assert_int_equal(rename(from, to), 0);
	store_close(&c);
}

static void remove_container(void)
{
	struct store_container c;
	char root[96];

	snprintf(root, sizeof(root), "%s/containers", dir);
	assert_int_equal(store_find(&c, root, "c", true), 0);
	assert_int_equal(store_remove(&c), 0);
	store_close(&c);
}

static int take_client(const struct held *h)
{
	struct pollfd p = { .fd = h->gate, .events = POLLIN };
	struct gate_message m;
	int fd;

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(socket_recv_fd(h->gate, &m, sizeof(m), &fd, NULL), sizeof(m));
	assert_int_equal(m.kind, GATE_EXEC);
	assert_true(fd >= 0);
	fcntl(fd, F_SETFL, 0);
	return fd;
}

/* One frame: its kind. */
static uint32_t hear_frame(int fd, char *payload, uint32_t *bytes)
{
	struct protocol_header h;

	assert_int_equal(recv(fd, &h, sizeof(h), MSG_WAITALL), sizeof(h));
	assert_true(h.bytes <= PROTOCOL_MAX_FRAME_BYTES);
	if (h.bytes)
		assert_int_equal(recv(fd, payload, h.bytes, MSG_WAITALL), h.bytes);
	*bytes = h.bytes;
	return h.kind;
}

static void say_frame(int fd, uint32_t kind, const void *payload, uint32_t bytes)
{
	const struct protocol_header h = { .kind = kind, .bytes = bytes };

	assert_int_equal(write(fd, &h, sizeof(h)), sizeof(h));
	if (bytes)
		assert_int_equal(write(fd, payload, bytes), bytes);
}

static size_t hear_exec_plan(int fd, char plan[8192])
{
	uint32_t bytes, kind;
	size_t n = 0;

	while ((kind = hear_frame(fd, plan + n, &bytes)) == PROTOCOL_EXEC_PLAN)
		n += bytes;
	assert_int_equal(kind, PROTOCOL_EXEC_GO);
	return n;
}

static const char exec_process[] = "{\"args\":[\"prog\",\"-x\"],\"env\":[\"A=b\"],\"cwd\":\"/w\",\"user\":{\"uid\":5,\"gid\":6}}";

static void an_exec_has_a_process_of_its_own(void **state)
{
	const struct protocol_exited end = { PROTOCOL_END_EXITED, 42 };
	char plan[8192], path[64], *text;
	struct protocol_exec e;
	struct held h;
	pid_t pid;
	size_t n;
	int fd;

	(void)state;
	if (!start_holder(&h))
		return;
	start_container(&h);
	write_down_container(&h, true);
	pid = call_exec_beside(exec_process, true);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	fd = take_client(&h);
	n = hear_exec_plan(fd, plan);
	memcpy(&e, plan, sizeof(e));
	assert_true(e.has_credentials && e.nr_arguments == 2 && !e.terminal);
	assert_memory_equal(plan + sizeof(e) + sizeof(struct protocol_credentials), "/w\0005:6\0prog\0-x\0A=b\0", 19);
	assert_int_equal(plan[n - 1], 0);
	/* It waits until the program runs. */
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	say_frame(fd, PROTOCOL_EXEC_STARTED, NULL, 0);
	assert_int_equal(status_of(pid), 0);

	pid = atoi(run_in(dir, "cat pid"));
	assert_true(pid > 1);
	snprintf(path, sizeof(path), "/proc/%d/root", pid);
	assert_string_equal(run_in(path, "ls -A"), "proc\n");
	snprintf(path, sizeof(path), "/proc/%d", pid);
	text = run_in(path, "readlink ns/pid ns/mnt ns/ipc ns/uts ns/net");
	snprintf(path, sizeof(path), "/proc/%d", h.pid);
	{
		char *copy = strdup(text);

		assert_string_equal(run_in(path, "readlink ns/pid ns/mnt ns/ipc ns/uts ns/net"), copy);
		free(copy);
	}
	snprintf(path, sizeof(path), "/proc/%d", pid);
	assert_string_equal(run_in(path, "grep -cE '^(Cap(Inh|Prm|Eff|Bnd|Amb):.0*|NoNewPrivs:.1)$' status"), "6\n");
	say_frame(fd, PROTOCOL_EXEC_STDOUT, "hello\n", 6);
	kill(pid, SIGTERM); /* goes to the guest */
	{
		uint32_t bytes, kind = 0, signal = 0;

		for (int i = 0; i < 4 && kind != PROTOCOL_EXEC_SIGNAL; i++)
			kind = hear_frame(fd, plan, &bytes);
		memcpy(&signal, plan, sizeof(signal));
		assert_int_equal(signal, SIGTERM);
	}
	say_frame(fd, PROTOCOL_EXEC_EXITED, &end, sizeof(end));
	assert_int_equal(status_of(pid), 42);
	assert_string_equal(run_in(dir, "cat said"), "hello\n");
	close(fd);
	remove_container();
	end_holder(&h, 0, 0);
}

/* ---- a container that joins a pod, with this test as its VM ---- */

struct joined {
	struct held sandbox, own;
	int dir;    /* the sandbox's */
	int master; /* of its terminal */
	int messages;
	int vm; /* its stream to the VM */
	pid_t pid;
};

/* Both holders listen at the same name, one after the other. */
static bool start_two_holders(struct joined *j)
{
	char line[96];

	if (!start_holder(&j->sandbox))
		return false;
	start_container(&j->sandbox);
	run_in(dir, "rm -rf sandbox; mkdir sandbox && mv socket sandbox/");
	snprintf(line, sizeof(line), "%s/sandbox", dir);
	j->dir = open(line, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(j->dir >= 0);
	return start_holder(&j->own);
}

static bool join_pod(struct joined *j)
{
	struct store_container sandbox = { .id = "sandbox", .root = -1, .lock = -1 };
	struct member_config c = {
		.id = "m",
		.sandbox = &sandbox,
		.flags = PROTOCOL_IN_NEW,
		.root = dir,
		.more = "more",
		.more_bytes = 4,
		.process = "plan",
		.process_bytes = 4,
		.has_terminal = true,
	};
	struct pollfd p = { .events = POLLIN };
	int unlock = 0, passed[2];
	struct gate_message m;
	char path[96];

	if (!start_two_holders(j))
		return false;
	sandbox.dir = j->dir;
	snprintf(path, sizeof(path), "%s/procs", dir);
	c.procs = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	c.messages = memfd_create("messages", MFD_CLOEXEC);
	c.holder = (int)syscall(SYS_pidfd_open, j->own.pid, 0);
	c.gate = j->own.gate;
	c.status = j->own.status;
	j->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_int_equal(ioctl(j->master, TIOCSPTLCK, &unlock), 0);
	c.terminal = open(ptsname(j->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	log_set_output(c.messages);
	j->pid = member_start(&c);
	log_set_output(STDERR_FILENO);
	assert_true(j->pid > 0);
	p.fd = j->sandbox.gate;
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(socket_recv_pair(j->sandbox.gate, &m, sizeof(m), passed), sizeof(m));
	assert_true(m.kind == GATE_JOIN && passed[0] >= 0 && passed[1] >= 0);
	j->vm = passed[0];
	fcntl(j->vm, F_SETFL, 0);
	close(passed[1]);
	close(c.terminal);
	close(c.procs);
	j->messages = c.messages;
	close(c.holder);
	close(j->own.gate);
	close(j->own.status);
	j->own.gate = j->own.status = -1;
	return true;
}

static void leave_pod(struct joined *j, int status)
{
	close(j->vm);
	assert_int_equal(status_of(j->pid), status);
	close(j->master);
	close(j->messages);
	end_holder(&j->own, -1, status);
	end_holder(&j->sandbox, 0, 0);
	close(j->dir);
}

/* It takes signals from now on, and none is waiting. */
static void wait_for_signals(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	assert_true(atoi(run_in(path, "i=0; while ! grep -q '^SigBlk:.*[89a-f]......$' status || ! grep -q "
				      "'^ShdPnd:.0*$' status; do sleep 0.01; i=$((i + 1)); [ $i -lt 1000 ] || break; done; "
				      "echo $i")) < 1000);
}

/* Its terminal has a size before the VM has room for it: that is said when it may be. */
static void a_member_is_told_of_in_order(void **state)
{
	const struct winsize size = { .ws_col = 90, .ws_row = 30 };
	static const uint32_t kinds[] = { PROTOCOL_EXEC_IN, PROTOCOL_EXEC_MORE, PROTOCOL_EXEC_PLAN, PROTOCOL_EXEC_GO,
					  PROTOCOL_EXEC_SIZE };
	const struct protocol_exited end = { PROTOCOL_END_EXITED, 7 };
	char data[PROTOCOL_MAX_FRAME_BYTES];
	struct joined j = { 0 };
	uint32_t bytes;

	(void)state;
	if (!join_pod(&j))
		return;
	wait_for_signals(j.pid);
	assert_int_equal(ioctl(j.master, TIOCSWINSZ, &size), 0);
	wait_for_signals(j.pid);
	assert_int_equal(answer_of(ask_holder(HOLDER_SIGNAL, SIGWINCH)), 0);
	say_frame(j.vm, PROTOCOL_EXEC_JOINED, NULL, 0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(hear_frame(j.vm, data, &bytes), kinds[i]);
		if (i == 2) {
			become_known(&j.own);
			close(ask_holder(HOLDER_START, 0));
		}
	}
	say_frame(j.vm, PROTOCOL_EXEC_STARTED, NULL, 0);
	say_frame(j.vm, PROTOCOL_EXEC_EXITED, &end, sizeof(end));
	leave_pod(&j, 7);
}

static void hear_freeze(const struct joined *j, uint32_t on)
{
	char data[PROTOCOL_MAX_FRAME_BYTES];
	struct protocol_freeze f;
	uint32_t bytes;

	assert_int_equal(hear_frame(j->vm, data, &bytes), PROTOCOL_EXEC_FREEZE);
	assert_int_equal(bytes, sizeof(f));
	memcpy(&f, data, sizeof(f));
	assert_int_equal(f.on, on);
}

static void say_frozen(const struct joined *j, uint32_t on, uint32_t number)
{
	const struct protocol_freeze f = { on, number };

	say_frame(j->vm, PROTOCOL_EXEC_FROZEN, &f, sizeof(f));
}

static bool start_member(struct joined *j)
{
	char data[PROTOCOL_MAX_FRAME_BYTES];
	uint32_t bytes;
	int fd;

	if (!join_pod(j))
		return false;
	say_frame(j->vm, PROTOCOL_EXEC_JOINED, NULL, 0);
	for (int i = 0; i < 3; i++)
		hear_frame(j->vm, data, &bytes);
	become_known(&j->own);
	fd = ask_holder(HOLDER_START, 0);
	assert_int_equal(hear_frame(j->vm, data, &bytes), PROTOCOL_EXEC_GO);
	say_frame(j->vm, PROTOCOL_EXEC_STARTED, NULL, 0);
	assert_int_equal(answer_of(fd), 0);
	return true;
}

/* The guest stops it, and says when it has. */
static void a_member_stops_alone(void **state)
{
	struct joined j = { 0 };
	int fd;

	(void)state;
	if (!start_member(&j))
		return;
	fd = ask_holder(HOLDER_PAUSE, 0);
	hear_freeze(&j, 1);
	assert_int_equal(answer_of(ask_holder(HOLDER_STATE, 0)), HOLDER_IS_STARTED);
	say_frozen(&j, 1, 0);
	assert_int_equal(answer_of(fd), 0);
	assert_int_equal(answer_of(ask_holder(HOLDER_STATE, 0)), HOLDER_IS_STARTED | HOLDER_IS_PAUSED);
	assert_int_equal(answer_of(ask_holder(HOLDER_RESUME, 0)), 0);
	hear_freeze(&j, 0);
	say_frozen(&j, 0, 0);
	/* It cannot, or says what is no error. */
	fd = ask_holder(HOLDER_PAUSE, 0);
	hear_freeze(&j, 1);
	say_frozen(&j, 1, ENOTSUP);
	assert_int_equal(answer_of(fd), -ENOTSUP);
	fd = ask_holder(HOLDER_PAUSE, 0);
	hear_freeze(&j, 1);
	say_frozen(&j, 1, 0xffffffff);
	assert_int_equal(answer_of(fd), -EPROTO);
	/* What comes after it was told to go on is no answer to the next one. */
	close(ask_holder(HOLDER_PAUSE, 0));
	hear_freeze(&j, 1);
	assert_int_equal(answer_of(ask_holder(HOLDER_RESUME, 0)), 0);
	hear_freeze(&j, 0);
	fd = ask_holder(HOLDER_PAUSE, 0);
	hear_freeze(&j, 1);
	say_frozen(&j, 1, 0);
	assert_int_equal(answer_of(ask_holder(HOLDER_STATE, 0)), HOLDER_IS_STARTED);
	say_frozen(&j, 1, 0);
	assert_int_equal(answer_of(fd), 0);
	/* A guest that says so unasked lies. */
	say_frozen(&j, 1, 0);
	leave_pod(&j, 255);
}

/* It reads what the VM's process says, and so has nothing of the host by then. */
static void a_member_keeps_nothing(void **state)
{
	char data[PROTOCOL_MAX_FRAME_BYTES], path[64];
	struct joined j = { 0 };
	uint32_t bytes;

	(void)state;
	if (!join_pod(&j))
		return;
	say_frame(j.vm, PROTOCOL_EXEC_JOINED, NULL, 0);
	assert_int_equal(hear_frame(j.vm, data, &bytes), PROTOCOL_EXEC_IN);
	snprintf(path, sizeof(path), "/proc/%d", j.pid);
	assert_string_equal(run_in(path, "readlink fd/* | sed 's/:\\[[0-9]*.$//; s,^/dev/pts/.*,tty,; s,^/dev/tty$,tty,' | sort -u"),
			    "/memfd:messages (deleted)\nanon_inode:[signalfd]\npipe\nsocket\ntty\n");
	assert_string_equal(run_in(path, "ls -A root"), "proc\n");
	assert_string_equal(run_in(path, "grep -cE '^(Cap(Inh|Prm|Eff|Bnd|Amb):.0*|NoNewPrivs:.1)$' status"), "6\n");
	leave_pod(&j, 137);
}

/* Somebody else waits for it. */
static bool has_ended(pid_t pid)
{
	siginfo_t info;

	return !waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
}

/* Before it is ready whoever makes it reads why not. */
static void a_member_that_is_refused_says_why(void **state)
{
	static const struct {
		uint32_t error; /* 0: the VM's end */
		int status;
		const char *said;
	} cases[] = {
		{ ENOSPC, 125, "pod: m: its VM has no disk for one more container" },
		{ 0, 137, "pod: m: its VM has ended, or as many commands as can be run in it already" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct protocol_exited end = { PROTOCOL_END_NOT_STARTED, cases[i].error };
		struct joined j = { 0 };
		char text[512] = "";

		if (!join_pod(&j))
			return;
		if (cases[i].error)
			say_frame(j.vm, PROTOCOL_EXEC_EXITED, &end, sizeof(end));
		else
			shutdown(j.vm, SHUT_RDWR);
		assert_true(has_ended(j.pid));
		assert_true(pread(j.messages, text, sizeof(text) - 1, 0) > 0);
		if (!strstr(text, cases[i].said))
			fail_msg("\"%s\"", text);
		leave_pod(&j, cases[i].status);
	}
}

/* Whoever listens takes no more connections. */
static void a_console_that_is_full_is_given_up(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/console", dir);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(connect(first, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(console_open(a.sun_path, 80, 25), -ETIMEDOUT);
	close(first);
	close(listener);
}

static pid_t call_beside(const char *command, const char *last)
{
	char root[96], said[96];
	const char *argv[] = { "lkvm-oci", "--root", root, command, "c", last, NULL };
	pid_t pid = fork();

	snprintf(root, sizeof(root), "%s/containers", dir);
	snprintf(said, sizeof(said), "%s/said", dir);
	if (!pid) {
		int out = open(said, O_RDWR | O_CREAT | O_TRUNC, 0600);

		if (!strcmp(command, "delete")) {
			argv[4] = last;
			argv[5] = "c";
		}
		dup2(out, 1);
		dup2(out, 2);
		close_range(3, ~0u, 0); /* locks of the test, too */
		exit(oci_main(last ? 6 : 5, (char **)(uintptr_t)argv));
	}
	return pid;
}

/* A holder whose VM is a process that does nothing, with its record, which says that it has not started. */
static struct store_process hold_a_process(struct held *h)
{
	struct store_container c;
	struct store_record r;
	pid_t pid = fork();
	char root[96];

	if (!pid) {
		pause();
		_exit(0);
	}
	close(h->status);
	h->status = -1;
	write_down_container(h, false);
	snprintf(root, sizeof(root), "%s/containers", dir);
	assert_int_equal(store_find(&c, root, "c", false), 0);
	assert_int_equal(store_load(&c, &r), 0);
	r.vm = store_process_of(pid);
	assert_int_equal(store_save(&c, &r), 0);
	store_close(&c);
	return r.holder;
}

static void a_kill_waits_for_nobody(void **state)
{
	static const char *const calls[][2] = { { "kill", "9" }, { "delete", "--force" } };
	char root[96], line[256];

	(void)state;
	snprintf(root, sizeof(root), "%s/containers", dir);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		struct store_process holder;
		struct store_container c;
		struct held h;
		pid_t pid;
		int silent, start;

		if (!start_holder(&h))
			return;
		become_ready(&h);
		silent = connect_silently();
		holder = hold_a_process(&h);
		snprintf(line, sizeof(line), "ln -sf %s/c/socket %s/socket", root, dir);
		assert_int_equal(system(line), 0);
		start = ask_holder(HOLDER_START, 0);
		assert_int_equal(store_find(&c, root, "c", true), 0); /* another command's lock */
		pid = call_beside(calls[i][0], calls[i][1]);
		assert_true(store_wait(&holder, 8000000000ull));
		store_close(&c);
		if (status_of(pid))
			fail_msg("%s: %s", calls[i][0], run_in(dir, "cat said"));
		assert_int_equal(status_of(h.pid), 137);
		close(silent);
		close(start);
		close(h.gate);
		close(h.caller);
		wait(NULL); /* the VM */
		if (!strcmp(calls[i][0], "kill")) {
			assert_int_equal(status_of(call_beside("kill", "15")), 1);
			assert_string_equal(run_in(dir, "cat said"), "container not running\n");
			assert_int_equal(status_of(call_beside("delete", "--force")), 0);
		}
		assert_string_equal(run_in(dir, "ls containers"), "");
	}
}

/* A create that had no processes yet when it was looked at, and has the lock. */
static void a_delete_looks_again(void **state)
{
	struct store_process holder;
	struct store_container c;
	struct store_record r, none;
	char root[96], path[64];
	struct held h;
	pid_t pid;

	(void)state;
	snprintf(root, sizeof(root), "%s/containers", dir);
	if (!start_holder(&h))
		return;
	become_ready(&h);
	holder = hold_a_process(&h);
	assert_int_equal(store_find(&c, root, "c", true), 0);
	assert_int_equal(store_load(&c, &r), 0);
	none = (struct store_record){ .bundle = "/", .creating = true };
	assert_int_equal(store_save(&c, &none), 0);
	pid = call_beside("delete", "--force");
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	while (!strstr(run_in(path, "readlink *"), "/lock\n"))
		assert_false(store_wait(&holder, 1000000));
	assert_int_equal(store_save(&c, &r), 0);
	assert_true(store_wait(&holder, 8000000000ull));
	store_close(&c);
	assert_int_equal(status_of(pid), 0);
	assert_int_equal(status_of(h.pid), 137);
	close(h.gate);
	close(h.caller);
	wait(NULL); /* the VM */
	assert_string_equal(run_in(dir, "ls containers"), "");
}

/* A start that was killed has not written it down. */
static void the_state_is_the_holders(void **state)
{
	struct held h;

	(void)state;
	if (!start_holder(&h))
		return;
	start_container(&h);
	hold_a_process(&h);
	assert_int_equal(status_of(call_beside("state", NULL)), 0);
	assert_non_null(strstr(run_in(dir, "cat said"), "\"status\":\"running\""));
	assert_int_equal(status_of(call_beside("delete", "--force")), 0);
	assert_int_equal(status_of(h.pid), 137);
	wait(NULL);
	close(h.gate);
	close(h.caller);
}

/* Containers "c" and "pod", its sandbox, with this test as the VM of both. */
static bool write_down_pod(struct joined *j, bool started)
{
	struct store_container c;
	struct store_record r;
	char root[96];

	if (!start_two_holders(j))
		return false;
	snprintf(root, sizeof(root), "%s/containers", dir);
	if (started)
		start_container(&j->own);
	else
		become_ready(&j->own);
	write_down_container(&j->own, started);
	assert_int_equal(store_find(&c, root, "c", false), 0);
	assert_int_equal(store_load(&c, &r), 0);
	strcpy(r.sandbox, "pod");
	assert_int_equal(store_save(&c, &r), 0);
	store_close(&c);
	assert_int_equal(store_create(&c, root, "pod"), 0);
	r = (struct store_record){ .bundle = "/", .started = true, .holder = store_process_of(j->sandbox.pid) };
	assert_int_equal(store_save(&c, &r), 0);
	store_close(&c);
	run_in(dir, "mv sandbox/socket containers/pod/ && ln -sf containers/pod/socket socket");
	return true;
}

static const char *state_of_member(void)
{
	assert_int_equal(status_of(call_beside("state", NULL)), 0);
	return run_in(dir, "sed -n 's/.*\"status\":\"\\([a-z]*\\)\".*/\\1/p' said");
}

/* The sandbox has the VM: with that all stop, and each stays as it was told when it goes on. */
static void a_member_stops_with_its_pod(void **state)
{
	struct joined j = { 0 };
	pid_t pid;
	int fd;

	(void)state;
	if (!write_down_pod(&j, true))
		return;
	assert_string_equal(state_of_member(), "running\n");
	fd = ask_holder(HOLDER_PAUSE, 0); /* the sandbox's */
	hear_of_holder(&j.sandbox, GATE_PAUSE, 0);
	say_to_holder(&j.sandbox, GATE_PAUSED, 0);
	assert_int_equal(answer_of(fd), 0);
	assert_string_equal(state_of_member(), "paused\n");
	assert_int_equal(status_of(call_beside("resume", NULL)), 1);
	assert_non_null(strstr(run_in(dir, "cat said"), "runs again when its pod's sandbox does"));
	assert_int_equal(status_of(call_beside("exec", "x")), 1);
	assert_non_null(strstr(run_in(dir, "cat said"), "is paused"));
	assert_int_equal(status_of(call_beside("pause", NULL)), 0);
	hear_of_holder(&j.own, GATE_PAUSE, 0);
	assert_int_equal(answer_of(ask_holder(HOLDER_RESUME, 0)), 0);
	hear_of_holder(&j.sandbox, GATE_RESUME, 0);
	say_to_holder(&j.own, GATE_PAUSED, 0);
	assert_string_equal(state_of_member(), "paused\n");
	assert_int_equal(status_of(call_beside("pause", NULL)), 1);
	assert_int_equal(status_of(call_beside("resume", NULL)), 0);
	hear_of_holder(&j.own, GATE_RESUME, 0);
	assert_string_equal(state_of_member(), "running\n");
	/* Both at once: its VM stops before it has answered. */
	pid = call_beside("pause", NULL);
	hear_of_holder(&j.own, GATE_PAUSE, 0);
	fd = ask_holder(HOLDER_PAUSE, 0);
	hear_of_holder(&j.sandbox, GATE_PAUSE, 0);
	say_to_holder(&j.sandbox, GATE_PAUSED, 0);
	assert_int_equal(answer_of(fd), 0);
	assert_int_equal(status_of(pid), 0);
	assert_string_equal(state_of_member(), "paused\n");
	end_holder(&j.own, 0, 0);
	end_holder(&j.sandbox, 0, 0);
	close(j.dir);
	run_in(dir, "rm -rf containers socket");
}

/* Nobody would answer, and it would run later, when its engine knows of it as one that does not. */
static void a_member_does_not_start_in_a_pod_that_is_paused(void **state)
{
	struct joined j = { 0 };
	int fd;

	(void)state;
	if (!write_down_pod(&j, false))
		return;
	fd = ask_holder(HOLDER_PAUSE, 0); /* the sandbox's */
	hear_of_holder(&j.sandbox, GATE_PAUSE, 0);
	say_to_holder(&j.sandbox, GATE_PAUSED, 0);
	assert_int_equal(answer_of(fd), 0);
	assert_string_equal(state_of_member(), "created\n");
	assert_int_equal(status_of(call_beside("start", NULL)), 1);
	assert_non_null(strstr(run_in(dir, "cat said"), "container \"c\" cannot be started: its pod's sandbox is paused"));
	assert_int_equal(answer_of(ask_holder(HOLDER_RESUME, 0)), 0);
	hear_of_holder(&j.sandbox, GATE_RESUME, 0);
	end_holder(&j.own, 0, 0);
	end_holder(&j.sandbox, 0, 0);
	close(j.dir);
	run_in(dir, "rm -rf containers socket");
}

/* It is not stopped later, when nobody knows of that any more. */
static void a_member_that_did_not_stop_goes_on(void **state)
{
	struct joined j = { 0 };
	pid_t pid;

	(void)state;
	if (!write_down_pod(&j, true))
		return;
	pid = call_beside("pause", NULL);
	hear_of_holder(&j.own, GATE_PAUSE, 0);
	say_to_holder(&j.own, GATE_PAUSED, ETIMEDOUT);
	for (int i = 0; i < 3; i++) {
		hear_of_holder(&j.own, GATE_PAUSE, 0);
		say_to_holder(&j.own, GATE_PAUSED, i < 2 ? ETIMEDOUT : ENOTSUP);
	}
	hear_of_holder(&j.own, GATE_RESUME, 0);
	assert_int_equal(status_of(pid), 1);
	if (!strstr(run_in(dir, "cat said"), "cannot be paused: Operation not supported"))
		fail_msg("%s", run_in(dir, "cat said"));
	assert_string_equal(state_of_member(), "running\n");
	end_holder(&j.own, 0, 0);
	end_holder(&j.sandbox, 0, 0);
	close(j.dir);
	run_in(dir, "rm -rf containers socket");
}

static void an_exec_that_fails_says_so(void **state)
{
	static const struct {
		uint32_t error; /* 0: the VM takes none */
		const char *said;
	} cases[] = {
		{ ENOENT, "executable file \"prog\" not found in $PATH, or its directory: No such file or directory\n" },
		{ EACCES, "executable file \"prog\": Permission denied\n" },
		{ ENOMEM, "exec: prog: Cannot allocate memory\n" },
		{ 0, "exec: the VM takes no more commands, or has ended\n" },
	};
	char plan[8192];
	struct held h;
	pid_t pid;
	int fd;

	(void)state;
	if (!start_holder(&h))
		return;
	start_container(&h);
	write_down_container(&h, true);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct protocol_exited end = { PROTOCOL_END_NOT_STARTED, cases[i].error };

		pid = call_exec_beside(exec_process, true);
		fd = take_client(&h);
		if (cases[i].error) {
			hear_exec_plan(fd, plan);
			say_frame(fd, PROTOCOL_EXEC_EXITED, &end, sizeof(end));
		}
		close(fd);
		assert_int_equal(status_of(pid), 1);
		assert_string_equal(run_in(dir, "cat said"), cases[i].said);
	}
	/* Without --detach it is a call like any other; the VM's end is a kill. */
	pid = call_exec_beside(exec_process, false);
	fd = take_client(&h);
	hear_exec_plan(fd, plan);
	say_frame(fd, PROTOCOL_EXEC_STARTED, NULL, 0);
	close(fd);
	assert_int_equal(status_of(pid), 137);
	assert_int_equal(status_of(call_exec_beside("{\"args\":[]}", true)), 1);
	assert_string_equal(run_in(dir, "cat said"), "config.json: cwd: is missing\n");
	remove_container();
	end_holder(&h, 0, 0);
}

static void a_log_that_nobody_reads_is_not_waited_for(void **state)
{
	char path[96], text[64] = "";
	const struct call call = { .log = path };
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/log", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	alarm(PATIENCE_MS / 1000);
	call_note(&call, "nobody reads this");
	alarm(0);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	call_note(&call, "somebody reads this");
	assert_in_range(read(fd, text, sizeof(text) - 1), 1, sizeof(text));
	assert_non_null(strstr(text, "warning: somebody reads this"));
	close(fd);
	assert_int_equal(unlink(path), 0);
}

/* Without --process the command's words are this command's own arguments. */
static void a_title_may_be_made_of_itself(void **state)
{
	char title[] = "lkvm-oci\0exec\0c\0ls\0-l";
	const char *const command[] = { title + 16, title + 19, NULL };

	(void)state;
	holder_show_title(title, sizeof(title), command);
	assert_memory_equal(title, "ls\0-l\0\0\0", 9);
}

/* ---- groups ---- */

static void a_limit_of_cpu_time_is_taken_back(void **state)
{
	struct config_resources r = { .cpu_quota_us = 20000 };
	char command[160];

	(void)state;
	snprintf(command, sizeof(command), ": >%s/cpu.max", dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(cgroup_update(dir, &r, &error), 0);
	assert_string_equal(run_in(dir, "cat cpu.max"), "20000 100000");
	assert_int_equal(system(command), 0);
	r = (struct config_resources){ .cpu_quota_us = -1, .cpu_period_us = 50000 };
	assert_int_equal(cgroup_update(dir, &r, &error), 0);
	assert_string_equal(run_in(dir, "cat cpu.max"), "max 50000");
}

/* A quota is one of a period, and each can be told without the other. */
static void half_a_limit_of_cpu_time_is_completed(void **state)
{
	static const struct {
		const char *is;
		int64_t quota, period, wanted_quota, wanted_period;
	} cases[] = {
		{ "20000 100000", 0, 50000, 20000, 50000 },
		{ "max 100000", 0, 50000, -1, 50000 },
		{ "20000 70000", 30000, 0, 30000, 70000 },
		{ "20000 70000", -1, 0, -1, 70000 },
		{ "20000 70000", 0, 0, 0, 0 },
		{ "20000 70000", 1, 2, 1, 2 },
		{ "nonsense", 0, 50000, 0, 50000 },
	};
	char file[96];

	(void)state;
	snprintf(file, sizeof(file), "%s/cpu.max", dir);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_resources r = { .cpu_quota_us = cases[i].quota, .cpu_period_us = cases[i].period };

		write_file(file, cases[i].is, strlen(cases[i].is));
		cgroup_complete_cpu(dir, &r);
		assert_int_equal(r.cpu_quota_us, cases[i].wanted_quota);
		assert_int_equal(r.cpu_period_us, cases[i].wanted_period);
	}
	unlink(file);
}

/* What would be another VM is said of the sandbox; engines tell all containers of a pod what they tell that. */
static void a_member_says_nothing_of_the_vm(void **state)
{
	static const struct {
		const char *member, *sandbox, *said;
	} cases[] = {
		{ "", "\"lkvm.memory\":\"1G\"", NULL },
		{ "\"lkvm.memory\":\"1G\",\"lkvm.max_containers\":\"3\"", "\"lkvm.max_containers\":\"3\",\"lkvm.memory\":\"1G\"", NULL },
		{ "\"lkvm.memory\":\"1G\"", "", "annotations.lkvm.memory: is one of the VM, which is the pod's; its sandbox has none" },
		{ "\"lkvm.cpus\":\"4\"", "\"lkvm.cpus\":\"2\"", "annotations.lkvm.cpus: is one of the VM, which is the pod's; its sandbox has 2" },
		{ "\"lkvm.publish\":\"80\"", "", "annotations.lkvm.publish" },
		{ "\"lkvm.network\":\"x\"", "", "annotations.lkvm.network" },
		{ "\"lkvm.warm\":\"yes\"", "", "annotations.lkvm.warm" },
		{ "\"lkvm.ignore\":\"hooks\"", "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *const given[] = { cases[i].member, cases[i].sandbox };
		struct config c[2];

		for (int k = 0; k < 2; k++) {
			char text[512];
			int n = snprintf(text, sizeof(text), "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"/r\"},"
							     "\"annotations\":{%s}}",
					 given[k]);

			assert_int_equal(config_parse(&c[k], CONFIG_BUNDLE, text, (size_t)n, &error), 0);
		}
		*error.text = '\0';
		assert_int_equal(pod_check_annotations(&c[0], &c[1], &error), cases[i].said ? -EINVAL : 0);
		if (cases[i].said && !strstr(error.text, cases[i].said))
			fail_msg("%s", error.text);
		config_fini(&c[0]);
		config_fini(&c[1]);
	}
}

/* Of one that shares its VM the group on the host limits nothing: what is said to be done is done. */
static void an_update_in_a_pod_is_refused(void **state)
{
	static const struct {
		const char *asked;
		int status;
	} cases[] = {
		{ "{\"cpu\":{\"quota\":50000,\"period\":100000,\"shares\":512,\"cpus\":\"0-1\"}}", 0 },
		{ "{}", 0 },
		{ "{\"cpu\":{\"quota\":20000}}", 1 },
		{ "{\"cpu\":{\"quota\":-1}}", 1 },
		{ "{\"cpu\":{\"period\":50000}}", 1 },
		{ "{\"cpu\":{\"shares\":2}}", 1 },
		{ "{\"cpu\":{\"cpus\":\"1\"}}", 1 },
		{ "{\"cpu\":{\"mems\":\"0\"}}", 1 },
		{ "{\"memory\":{\"limit\":1000000}}", 1 },
	};
	static const char config[] = "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"/\"},\"process\":{\"args\":[\"x\"],\"cwd\":\"/\"},"
				     "\"linux\":{\"resources\":{\"cpu\":{\"quota\":50000,\"period\":100000,\"shares\":512,\"cpus\":\"0-1\"}}}}";
	struct store_record r = { .sandbox = "pod" };
	char root[96], file[96], title[] = "lkvm-oci", option[] = "--root", update[] = "update", given[] = "-r", c[] = "c";
	char *args[] = { title, option, root, update, given, file, c, NULL };
	struct store_container found;

	(void)state;
	snprintf(root, sizeof(root), "%s/containers", dir);
	snprintf(file, sizeof(file), "%s/config.json", dir);
	write_file(file, config, strlen(config));
	snprintf(file, sizeof(file), "%s/asked", dir);
	snprintf(r.bundle, sizeof(r.bundle), "%s", dir);
	snprintf(r.cgroup, sizeof(r.cgroup), "%s/limits", dir);
	r.holder = r.vm = store_process_of(getpid());
	run_in(dir, "mkdir limits && cd limits && touch cpu.max cpu.weight cpuset.cpus cpuset.mems");
	assert_int_equal(store_create(&found, root, "c"), 0);
	assert_int_equal(store_save(&found, &r), 0);
	store_close(&found);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		pid_t pid;

		write_file(file, cases[i].asked, strlen(cases[i].asked));
		pid = fork();
		if (!pid) {
			dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
			_exit(oci_main(7, args));
		}
		if (status_of(pid) != cases[i].status || *run_in(dir, "cat limits/*"))
			fail_msg("%s: not %d", cases[i].asked, cases[i].status);
	}
	remove_container();
	run_in(dir, "rm -r limits asked config.json");
}

static int make_group_at(const char *at, char *path, bool *made)
{
	struct config c = { .cgroups_path = at };

	return cgroup_make(&c, path, made, &error);
}

static void groups_of_others_are_left_alone(void **state)
{
	static const char *const no_paths[] = { "/", "", "//", "/.", ".", "/a/../..", "..", "/./", "/a/." };
	char path[PATH_MAX], name[64], below[96], own[PATH_MAX + 16];
	bool made = true;
	pid_t pid, killer;
	int fd, status;
	uint64_t start_ns;

	(void)state;
	assert_int_equal(cgroup_vm_bytes(1), (128 << 20) + 1);
	assert_true(cgroup_vm_bytes(INT64_MAX) == -1 && cgroup_vm_bytes(INT64_MAX - (128 << 20)) == INT64_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(no_paths); i++) {
		assert_int_equal(make_group_at(no_paths[i], path, &made), -EINVAL);
		assert_true(!made && !*path);
	}
	snprintf(name, sizeof(name), "lkvm-unit-%d", getpid());
	snprintf(below, sizeof(below), "/%s/c//", name);
	if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL) || make_group_at(below, path, &made)) {
		print_message("no groups here\n");
		return;
	}
	assert_true(made && path[strlen(path) - 1] == 'c');
	/* An empty one is taken, and is not ours; one with a group in it is not taken. */
	assert_int_equal(make_group_at(below, path, &made), 0);
	assert_false(made);
	assert_int_equal(make_group_at(name, path, &made), -EBUSY);
	assert_false(made);
	assert_non_null(strstr(error.text, "has processes or groups of others in it"));
	/* Nor is one with a process. */
	snprintf(own, sizeof(own), "/sys/fs/cgroup%s", below);
	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	fd = cgroup_open(own);
	assert_true(fd >= 0);
	assert_int_equal(cgroup_enter(fd, pid), 0);
	close(fd);
	assert_int_equal(make_group_at(below, path, &made), -EBUSY);
	assert_false(made);
	/* Who is in it may take a while to end. */
	killer = fork();
	if (!killer) {
		usleep(1500000);
		_exit(kill(pid, SIGKILL) != 0);
	}
	assert_int_equal(cgroup_remove(own), 0);
	assert_int_equal(waitpid(killer, &status, 0), killer);
	assert_int_equal(status, 0);
	waitpid(pid, NULL, 0);
	snprintf(own, sizeof(own), "/sys/fs/cgroup/%s", name);
	/* One that has groups in it, which nobody is in, is not waited for. */
	assert_int_equal(make_group_at(below, path, &made), 0);
	start_ns = now_ns();
	assert_int_equal(cgroup_remove(own), -EBUSY);
	assert_in_range(now_ns() - start_ns, 0, 1000000000);
	assert_int_equal(cgroup_remove(path), 0);
	assert_int_equal(cgroup_remove(own), 0);
	assert_int_equal(umount("/sys/fs/cgroup"), 0);
}

/* ---- delete ---- */

/* Of "c", in a process of its own, which has nothing of @h. What it says is in "said". */
static pid_t delete_beside(const struct held *h, bool force)
{
	char title[] = "lkvm-oci", root[96], said[96], delete[] = "delete", option[] = "--root", c[] = "c",
	     forced[] = "--force";
	char *args[] = { title, option, root, delete, c, NULL, NULL };
	pid_t pid;

	snprintf(root, sizeof(root), "%s/containers", dir);
	snprintf(said, sizeof(said), "%s/said", dir);
	if (force) {
		args[4] = forced;
		args[5] = c;
	}
	pid = fork();
	if (!pid) {
		dup2(open(said, O_RDWR | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
		if (h) {
			close(h->gate);
			close(h->status);
			close(h->caller);
		}
		_exit(oci_main(force ? 6 : 5, args));
	}
	return pid;
}

static void a_container_without_its_record_is_ended(void **state)
{
	char path[128];
	struct held h;
	pid_t pid;

	(void)state;
	if (!start_holder(&h))
		return;
	start_container(&h);
	write_down_container(&h, true);
	snprintf(path, sizeof(path), "%s/containers/c/record", dir);
	write_file(path, "{\"v\":1", 6);
	pid = delete_beside(&h, true);
	assert_true(gate_has_ended(&h));
	end_holder(&h, -1, 137);
	assert_int_equal(status_of(pid), 0);
	assert_string_equal(run_in(dir, "ls -A containers"), "");
}

static void groups_are_removed_by_who_made_them(void **state)
{
	struct store_record r = { .bundle = "/", .holder = { INT32_MAX, 1 }, .vm = { INT32_MAX, 1 } };
	struct store_container c;
	char root[96];

	(void)state;
	snprintf(root, sizeof(root), "%s/containers", dir);
	snprintf(r.cgroup, sizeof(r.cgroup), "%s/group", dir);
	for (int k = 0; k < 3; k++) {
		run_in(dir, "mkdir -p group");
		r.cgroup_made = k;
		assert_int_equal(store_create(&c, root, "c"), 0);
		assert_int_equal(store_save(&c, &r), 0);
		store_close(&c);
		if (k == 2) { /* one that cannot be removed */
			run_in(dir, "touch group/x");
			assert_int_equal(status_of(delete_beside(NULL, false)), 1);
			assert_non_null(strstr(run_in(dir, "cat said"), "cannot be removed"));
		}
		assert_int_equal(status_of(delete_beside(NULL, k)), 0);
		assert_string_equal(run_in(dir, "ls -A containers"), "");
		assert_string_equal(run_in(dir, "ls -d group 2>/dev/null"), k == 1 ? "" : "group\n");
	}
}

/* ---- networks, with namespaces of this machine ---- */

/* Of a namespace with a card: its first process; 0: there can be none here. */
static pid_t make_network(void)
{
	int ready[2];
	char byte = 'x';
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWNET) ||
		    system("ip link add v0 type veth peer name v1 2>/dev/null && ip link set lo up && "
			   "ip link set v0 mtu 1400 address 02:00:00:00:07:09 && ip addr add 10.9.8.7/20 dev v0 && "
			   "ip link set v0 up && ip route add default via 10.9.0.1; r=$?; ip -6 addr add fd00::7/64 dev v0 nodad "
			   "2>/dev/null; exit $r") ||
		    write(ready[1], &byte, 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = 0;
	}
	close(ready[0]);
	return pid;
}

/* In the order of their making, without what comes after a name's first letters. */
static const char *links_of(pid_t pid)
{
	char line[160];

	snprintf(line, sizeof(line), "nsenter -t %d -n ip -o link | sed -E 's/^[0-9]+: ([a-z]+[0-9]?).*/\\1/; "
				     "s/lkvm./lkvm/' | tr '\\n' ' ' | sed 's/ $/\\n/'",
		 pid);
	return run_in(dir, line);
}

/* And none of them keeps us waiting. */
static void what_is_no_network_of_a_container_is_refused(void **state)
{
	static const char *const hosts[] = {
		"/proc/self/ns/net", "//proc/self/ns/net", "/proc/self/../self/ns/net", "/proc/thread-self/ns/net"
	};
	struct config_error why = { "" };
	char path[96], wanted[160];
	struct network n;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		assert_int_equal(network_open(&n, hosts[i], "a", dir, &why), -EIO);
		snprintf(wanted, sizeof(wanted), "network: %s: a VM cannot share the host's network", hosts[i]);
		assert_string_equal(why.text, wanted);
		assert_int_equal(n.spaces, -1);
	}
	snprintf(path, sizeof(path), "%s/link", dir);
	assert_int_equal(symlink("/proc/self/ns/net", path), 0);
	assert_int_equal(network_open(&n, path, "a", dir, &why), -EIO);
	assert_non_null(strstr(why.text, "cannot share the host's network"));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	for (int i = 0; i < 3; i++) {
		const char *it = i == 0 ? path :
				 i == 1 ? "/proc/self/ns/uts" :
					  "/dev/null";

		assert_int_equal(network_open(&n, it, "a", dir, &why), -EIO);
		assert_non_null(strstr(why.text, "it is no network namespace"));
	}
}

static void interfaces_are_taken_over(void **state)
{
	const pid_t pid = make_network();
	char path[64], place[96], option[160], wanted[200];
	struct config_error why = { "" };
	struct network n, other;

	(void)state;
	if (!pid) {
		print_message("no network namespaces here\n");
		return;
	}
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	snprintf(place, sizeof(place), "%s/net", dir);
	mkdir(place, 0755);
	/* And once more, when the first container is gone; another one does not get them meanwhile. */
	for (int i = 0; i < 2; i++) {
		int rc = network_open(&n, path, "mine", place, &why);

		if (rc && strstr(why.text, "not permitted")) {
			print_message("%s\n", why.text);
			break;
		}
		if (rc)
			fail_msg("%s", why.text);
		assert_int_equal(n.nr, 1);
		network_option(&n.cards[0], option, sizeof(option));
		snprintf(wanted, sizeof(wanted),
			 "mode=fd,fd=%d,guest_mac=02:00:00:00:07:09,mtu=1400,ip=10.9.8.7/20,"
			 "gw=10.9.0.1",
			 n.cards[0].fd);
		assert_string_equal(option, wanted);
		assert_int_equal(fcntl(n.cards[0].fd, F_GETFD), FD_CLOEXEC);
		assert_int_equal(n.cards[0].has_ipv6, !access("/proc/sys/net/ipv6", F_OK));
		network_remove(path, "other");
		assert_int_equal(network_open(&other, path, "other", place, &why), -EIO);
		assert_non_null(strstr(why.text, "another container has its interface"));
		network_close(&other);
		assert_string_equal(links_of(pid), "lo v1 v0 lkvm\n");
		network_close(&n);
		network_remove(path, "mine");
		assert_string_equal(links_of(pid), "lo v1 v0\n");
	}
	assert_string_equal(run_in(place, "ls -A"), ""); /* seen by nobody else */
	network_close(&n);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(network_open(&n, "/nix", "mine", place, &why), -EIO);
	assert_string_equal(why.text, "network: /nix: No such file or directory");
	network_close(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plan_is_in_order),
		cmocka_unit_test(engines_say_who_is_in_a_pod),
		cmocka_unit_test(a_pod_has_so_many_containers),
		cmocka_unit_test(ports_are_numbers_and_nothing_else),
		cmocka_unit_test(a_scope_is_named_by_three),
		cmocka_unit_test(systemd_hears_of_each_limit),
		cmocka_unit_test(sets_of_cpus_are_lists),
		cmocka_unit_test(a_systemd_that_does_not_answer),
		cmocka_unit_test(a_scope_that_systemd_refuses),
		cmocka_unit_test(a_pods_namespaces_are_its_sandboxs),
		cmocka_unit_test(limits_of_a_member_are_the_guests),
		cmocka_unit_test(an_empty_dir_is_the_pods),
		cmocka_unit_test(large_files_come_in_parts),
		cmocka_unit_test(files_are_written_by_engines_alone),
		cmocka_unit_test(shared_memory_is_a_tmpfs),
		cmocka_unit_test(what_a_vm_cannot_do_is_said),
		cmocka_unit_test(devices_have_owner_and_mode),
		cmocka_unit_test(a_disk_needs_no_dev_of_its_own),
		cmocka_unit_test(the_root_is_shared_in_the_vm),
		cmocka_unit_test(access_to_a_disk_is_as_the_rules_say),
		cmocka_unit_test(a_disk_is_found_by_its_number),
		cmocka_unit_test(lists_that_would_be_weaker_are_refused),
		cmocka_unit_test(of_two_rules_the_stricter_counts),
		cmocka_unit_test(the_list_of_an_engine_is_taken),
		cmocka_unit_test(programs_are_found_in_the_root),
		cmocka_unit_test(a_plan_makes_a_container),
		cmocka_unit_test(ids_are_names),
		cmocka_unit_test(a_record_is_kept),
		cmocka_unit_test(the_same_id_is_free_at_once),
		cmocka_unit_test(a_record_has_a_bound),
		cmocka_unit_test(bad_records_are_none),
		cmocka_unit_test(processes_are_told_apart),
		cmocka_unit_test(a_holder_ends_as_its_vm),
		cmocka_unit_test(a_holder_shows_nothing),
		cmocka_unit_test(clients_are_passed_on),
		cmocka_unit_test(signals_reach_the_guest),
		cmocka_unit_test(a_kill_ends_the_vm),
		cmocka_unit_test(a_start_that_fails_is_told),
		cmocka_unit_test(a_pause_is_answered),
		cmocka_unit_test(clients_are_not_in_the_way),
		cmocka_unit_test(the_holder_knows_its_state),
		cmocka_unit_test(without_its_caller_it_ends),
		cmocka_unit_test(an_exec_has_a_process_of_its_own),
		cmocka_unit_test(an_exec_that_fails_says_so),
		cmocka_unit_test(a_member_is_told_of_in_order),
		cmocka_unit_test(a_member_stops_alone),
		cmocka_unit_test(a_member_stops_with_its_pod),
		cmocka_unit_test(a_member_does_not_start_in_a_pod_that_is_paused),
		cmocka_unit_test(a_member_that_did_not_stop_goes_on),
		cmocka_unit_test(a_member_keeps_nothing),
		cmocka_unit_test(a_member_that_is_refused_says_why),
		cmocka_unit_test(groups_of_others_are_left_alone),
		cmocka_unit_test(a_container_without_its_record_is_ended),
		cmocka_unit_test(groups_are_removed_by_who_made_them),
		cmocka_unit_test(a_console_that_is_full_is_given_up),
		cmocka_unit_test(a_kill_waits_for_nobody),
		cmocka_unit_test(a_delete_looks_again),
		cmocka_unit_test(a_log_that_nobody_reads_is_not_waited_for),
		cmocka_unit_test(a_limit_of_cpu_time_is_taken_back),
		cmocka_unit_test(half_a_limit_of_cpu_time_is_completed),
		cmocka_unit_test(a_member_says_nothing_of_the_vm),
		cmocka_unit_test(an_update_in_a_pod_is_refused),
		cmocka_unit_test(a_title_may_be_made_of_itself),
		cmocka_unit_test(the_state_is_the_holders),
		cmocka_unit_test(what_is_no_network_of_a_container_is_refused),
		cmocka_unit_test(interfaces_are_taken_over),
	};

	return cmocka_run_group_tests_name("oci", tests, make_folder, remove_folder);
}
