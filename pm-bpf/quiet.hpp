// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// While it lives, libbpf writes nothing to stderr: what went wrong is in an error, or is none.
#pragma once

#include <bpf/libbpf.h>

namespace pm::bpf {

class quiet_libbpf {
public:
	quiet_libbpf() : usual_(libbpf_set_print(nullptr)) {}
	quiet_libbpf(const quiet_libbpf &) = delete;
	quiet_libbpf &operator=(const quiet_libbpf &) = delete;
	~quiet_libbpf() { libbpf_set_print(usual_); }

private:
	libbpf_print_fn_t usual_;
};

} // namespace pm::bpf
