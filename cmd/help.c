// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm help` and `lkvm version`: text on stdout.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "log.h"
#include "util.h"

static const char overview[] =
"usage: lkvm run [options] [KERNEL]    boot a virtual machine in the foreground\n"
"       lkvm check [--json]            can this host run one? finds out by trying\n"
"       lkvm version | help [COMMAND]\n";

static const char help_run[] =
"usage: lkvm run [options] [KERNEL]\n"
"\n"
"Boots KERNEL in a virtual machine; its console is this terminal (Ctrl-A x quits).\n"
"\n"
"what to boot\n"
"  -k, --kernel FILE     bzImage, ELF vmlinux or unified kernel image (default:\n"
"                        arch/x86/boot/bzImage, bzImage,\n"
"                        ../../arch/x86/boot/bzImage, /boot/vmlinuz-$(uname -r))\n"
"  -i, --initrd FILE     may be repeated: concatenated in order\n"
"  -p, --params STR      kernel parameters, after ours; may be repeated\n"
"  -d, --disk FILE[,ro][,cow][,direct][,discard=off][,format=raw|qcow2][,backing=on][,serial=S]\n"
"                        a disk, vda for the first; may be repeated. ro: read-only;\n"
"                        cow: writes go to a temporary file; discard=off: the guest cannot\n"
"                        make holes; a comma in FILE is written twice. The first, or its\n"
"                        only Linux partition, is the root file system, unless the\n"
"                        parameters say root=\n"
"  -n, --network mode=tap[,tapif=NAME][,queues=N]  a network card; may be repeated. tap: an\n"
"                        interface of the host (ip tuntap add NAME mode tap user $USER)\n"
"                mode=passt[,publish=[IP:]HOST:GUEST[/udp]]...[,host=on]\n"
"                        the host's network without privileges, by passt(1); publish: a port\n"
"                        of the host (127.0.0.1) leads to the guest; host=on: the guest may\n"
"                        reach the host's own services, by the gateway's address\n"
"                mode=stream,path=SOCKET[,server=on]\n"
"                        frames over a UNIX socket: another VM, gvproxy, passt\n"
"                mode=fd,fd=N    an open tap or macvtap        mode=none    no card\n"
"                        tap and fd: ,vhost=on (the host's kernel moves the frames)\n"
"                        each but none: ,guest_mac=M ,mtu=N ,pcap=FILE (records frames)\n"
"      --port NAME=unix:PATH|file:PATH|fd:N|pty\n"
"                        /dev/virtio-ports/NAME in the guest is this on the host\n"
"      --rng on|off|RATE     random numbers from the host, RATE bytes per second (default on)\n"
"      --no-default-params   leave ours out\n"
"      --unpack host|guest   who unpacks and relocates a bzImage (default host)\n"
"      --kernel-cache DIR|off    keep unpacked kernels in DIR (default\n"
"                        $XDG_CACHE_HOME/lkvm or ~/.cache/lkvm)\n"
"      --flat FILE[@ADDR]    a real-mode image instead of a kernel (default 0x10000)\n"
"\n"
"the machine\n"
"  -c, --cpus N          number of CPUs (default 1, at most 255)\n"
"  -m, --mem SIZE        memory: a number with B, K, M, G or T; bare: MiB (default 512M)\n"
"      --nested on|off   it may run virtual machines itself (default off)\n"
"      --transport pci|mmio  how the guest reaches its virtio devices (default pci)\n"
"      --acpi on|off     describe it by ACPI tables (default on)\n"
"      --mptable on|off  ... by an Intel MP table (default on)\n"
"      --fdt on|off      ... by a device tree (default off)\n"
"      --dump-dtb FILE   write that device tree to FILE\n"
"\n"
"how to run it\n"
"      --console serial|virtio   what the terminal is attached to: ttyS0 or hvc0\n"
"                        (default serial; the kernel's log is on ttyS0 either way)\n"
"      --console-log FILE    append every byte of ttyS0 and hvc0 to FILE; SIGHUP reopens it\n"
"      --timeout SECONDS     end it then, with status 124\n"
"      --die-with-parent     end it when the process that started lkvm ends\n"
"      --json FILE       write how it ended to FILE\n"
"      --name NAME       a name, for --json; network cards have the same address each time\n"
"      --sandbox on|off|strict  shut lkvm in before the guest runs (default on: with what\n"
"                        this host allows; strict: with everything, see lkvm check)\n"
"      --dry-run         load everything, run nothing\n"
"  -q, --quiet           only errors\n"
"  -v, --verbose         more\n"
"\n"
"exit status\n"
"  0    the guest powered off or rebooted\n"
"  124  --timeout expired\n"
"  125  lkvm failed: usage, no /dev/kvm, bad kernel\n"
"  255  the guest was lost: panic, triple fault, KVM error, a reset without a shutdown\n"
"  128+n  ended by signal n (130 for Ctrl-A x)\n";

static const char help_check[] =
"usage: lkvm check [--json]\n"
"\n"
"Opens /dev/kvm and runs a tiny guest for each question that matters; tries each\n"
"layer of the sandbox.\n"
"Exit status: 0 stock kernels will run, 1 only small guests will, 125 none will.\n";

static const char help_version[] = "usage: lkvm version\n";
static const char help_help[] = "usage: lkvm help [COMMAND]\n";

static const struct {
	const char *command, *text;
} pages[] = {
	{ "run", help_run },
	{ "check", help_check },
	{ "version", help_version },
	{ "help", help_help },
};

int help_print(const char *command)
{
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		if (strcmp(pages[i].command, command))
			continue;
		fputs(pages[i].text, stdout);
		return EXIT_OK;
	}
	log_error("help: %s: no such command\n`lkvm help` lists them.", command);
	return EXIT_LKVM;
}

int help_check_arguments(int argc, char **argv, const char *command, const char *flag, bool *given)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help"))
			return help_print(command);
		if (flag && !strcmp(argv[i], flag)) {
			*given = true;
			continue;
		}
		if (argv[i][0] == '-' && argv[i][1])
			log_error("option %s: unknown\n`lkvm help %s` lists the options.", argv[i], command);
		else
			log_error("argument: %s: unexpected\n`lkvm help %s` tells more.", argv[i], command);
		return EXIT_LKVM;
	}
	return -1;
}

/* `lkvm help COMMAND`: what follows COMMAND is checked, COMMAND by help_print(). */
int cmd_help(int argc, char **argv, uint64_t start_ns)
{
	bool named = argc > 1 && argv[1][0] != '-';
	int status = help_check_arguments(argc - named, argv + named, "help", NULL, NULL);

	(void)start_ns;
	if (status >= 0)
		return status;
	if (named)
		return help_print(argv[1]);
	fputs(overview, stdout);
	return EXIT_OK;
}

int cmd_version(int argc, char **argv, uint64_t start_ns)
{
	int status = help_check_arguments(argc, argv, "version", NULL, NULL);

	(void)start_ns;
	if (status >= 0)
		return status;
	puts("lkvm " LKVM_VERSION);
	return EXIT_OK;
}
