// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The path manager of probe_pm.bpf.c in charge of namespaces, and connections for it: what a test orders is done, what the
// kernel tells is there to be looked at.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <netinet/in.h>

#include "replay/lab.hpp"
#include "tests/support/daemon.hpp"
#include "tests/vm/probe_pm.h"

struct probe_pm_bpf;
struct ring_buffer;
struct bpf_link;
struct bpf_map;

namespace pm::test {

class probe {
public:
	enum class table { quiet, answers }; // the latter is asked, too
	// In charge of what begins in both namespaces from now on.
	explicit probe(const replay::lab &of, table which = table::quiet);
	probe(const probe &) = delete;
	probe &operator=(const probe &) = delete;
	~probe();

	// What it answers from now on.
	void answer_local_id(int id) const;
	void answer_backup(bool backup) const;
	void refuse(bool refused) const; // what is to be accepted
	void mark_established(std::uint32_t mark) const; // sets and gets this SO_MARK when a subflow is established

	// All that was written down so far.
	[[nodiscard]] const std::vector<probe_record> &records();
	using condition = std::function<bool(const probe_record &)>;
	[[nodiscard]] std::vector<probe_record> all(unsigned type, std::uint32_t token = 0);
	[[nodiscard]] std::size_t count(unsigned type, std::uint32_t token = 0) { return all(type, token).size(); }
	// The first such record; throws unless it comes.
	probe_record expect(unsigned type, std::uint32_t token = 0, const condition &such = {});

	// Carried out by the connection's `work`. Yields its error, 0 or a negative errno; throws if it does not come to that.
	int carry_out(probe_order order);
	// What the iterators give: of PROBE_SUBFLOW, PROBE_LOCAL or PROBE_REMOTE.
	[[nodiscard]] std::vector<probe_record> list(unsigned type, std::uint32_t token);
	[[nodiscard]] std::vector<probe_record> subflows(std::uint32_t token) { return list(PROBE_SUBFLOW, token); }

	void unregister() { link_.reset(); } // the namespaces still name it
	[[nodiscard]] int update_by_itself() const; // of its link: 0 or a negative errno
	[[nodiscard]] int program(const char *name) const; // its descriptor

private:
	struct closer {
		void operator()(probe_pm_bpf *skeleton) const noexcept;
		void operator()(ring_buffer *ring) const noexcept;
		void operator()(bpf_link *link) const noexcept;
	};
	const replay::lab &lab_;
	std::unique_ptr<probe_pm_bpf, closer> skeleton_;
	std::unique_ptr<ring_buffer, closer> ring_;
	std::unique_ptr<bpf_link, closer> link_;
	bpf_map *table_ = nullptr;
	std::string before_[2];
	std::vector<probe_record> records_;
	std::uint32_t orders_ = 0;
};

// Whether the kernel takes the table of that name, although probes are in use or not: 0 or a negative errno.
[[nodiscard]] int try_to_attach(const char *table);

// A socket of the server's that listens, on all its addresses.
[[nodiscard]] descriptor listener(const replay::lab &of, std::uint16_t port, const pm_addr &address = {},
				  int protocol = IPPROTO_MPTCP);

// One connection between the first addresses, accepted.
struct connection {
	connection(const replay::lab &of, const descriptor &listening, std::uint16_t port, bool ipv6 = false);
	void carry_a_byte() const; // each way
	void reset_by_the_client(); // closes it with MP_FASTCLOSE
	[[nodiscard]] std::uint32_t client_token() const; // whatever its path manager is
	descriptor client, server;
	std::uint16_t client_port = 0; // the initial subflow's
};

[[nodiscard]] unsigned interface_in(const netns &where, const char *name);

// Two paths, the probe in charge at both ends, a server that listens.
class probed : public testing::Test {
protected:
	static constexpr std::uint16_t port = 443;

	explicit probed(probe::table which = probe::table::quiet) : told(lab, which) {}

	// A connection that is established at both ends: further subflows are possible.
	struct pair {
		connection ends;
		std::uint32_t client, server; // their tokens
	};
	[[nodiscard]] pair open(bool ipv6 = false);
	// The token of the connection that began with this port of the client's.
	[[nodiscard]] std::uint32_t token_of(std::uint16_t client_port, bool of_server);

	// What the client opens, from `local` to `remote` (nullptr: see the order); yields the error.
	[[nodiscard]] static probe_order opening(std::uint32_t token, const pm_addr *local, const pm_addr *remote);
	// Announces it as soon as what was announced before has been sent; yields the error, as does the other.
	[[nodiscard]] int announce(std::uint32_t token, pm_u8 id, const pm_addr &address, std::uint16_t of_port = 0);
	[[nodiscard]] int withdraw(std::uint32_t token, pm_u8 id);

	using records = std::vector<probe_record>;
	// The one from that address that is not the initial subflow; throws unless there is one.
	[[nodiscard]] static probe_record joined_from(const records &all, const pm_addr &local,
						      std::uint16_t initial_port);

	const replay::lab lab = must(replay::lab::create({.paths = 2, .endpoints = false}));
	probe told;
	descriptor listening = listener(lab, port);

	const pm_addr client0 = replay::lab::client_address(0, false), client1 = replay::lab::client_address(1, false),
		      server0 = replay::lab::server_address(0, false), server1 = replay::lab::server_address(1, false);
};

} // namespace pm::test
