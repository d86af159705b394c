/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lkvm-oci: an OCI runtime, as engines call it.
 *
 *	lkvm-oci [--root DIR] [--log FILE] [--log-format text|json] COMMAND ...
 *
 *	create --bundle DIR --pid-file FILE ID	makes the container's VM, and returns when it waits
 *	start ID				lets its process start
 *	state ID				what there is of it, as JSON
 *	kill [--all] ID [SIGNAL]		signals its process
 *	delete [--force] ID			removes what is left of it
 *	exec --process FILE ID			one more process in it
 *	ps [--format json] ID			its processes on the host
 *	update --resources FILE ID		changes limits of CPUs
 *	pause ID, resume ID			stops the VM's CPUs, lets them go on
 *	features, --version
 *
 * Others are refused by name.
 */
#ifndef LKVM_OCI_RUNTIME_H
#define LKVM_OCI_RUNTIME_H

/* The process's exit status. */
int oci_main(int argc, char **argv);

#endif
