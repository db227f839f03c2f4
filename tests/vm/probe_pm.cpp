// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "tests/vm/probe_pm.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/mptcp.h>
#include <net/if.h>
#include <sys/socket.h>

#include "pm-bpf/attachment.hpp"
#include "tests/vm/probe_pm.skel.h"

namespace pm::test {

using replay::lab;

namespace {

constexpr double patience = 10;
constexpr const char *name = "probe";

int write_down(void *records, void *data, std::size_t)
{
	static_cast<std::vector<probe_record> *>(records)->push_back(*static_cast<const probe_record *>(data));
	return 0;
}

std::string said; // by libbpf, since a probe was loaded last

int keep(libbpf_print_level level, const char *format, std::va_list values)
{
	char line[1 << 16];
	if (level == LIBBPF_WARN && std::vsnprintf(line, sizeof line, format, values) > 0)
		said += line;
	return 0;
}

probe_pm_bpf *load()
{
	said.clear();
	libbpf_set_print(keep);
	probe_pm_bpf *skeleton = probe_pm_bpf__open_and_load();
	if (!skeleton)
		throw std::runtime_error("the kernel does not take the probe: " + said);
	return skeleton;
}

// Nothing waits for ever, so that what goes wrong is reported.
void be_patient(const descriptor &socket)
{
	const timeval longest{static_cast<time_t>(patience), 0};
	setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
	setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &longest, sizeof longest);
}

bool carries(const descriptor &from, const descriptor &to)
{
	char byte = 1;
	return send(from.get(), &byte, 1, MSG_NOSIGNAL) == 1 && recv(to.get(), &byte, 1, 0) == 1;
}

} // namespace

void probe::closer::operator()(probe_pm_bpf *skeleton) const noexcept { probe_pm_bpf__destroy(skeleton); }
void probe::closer::operator()(ring_buffer *ring) const noexcept { ring_buffer__free(ring); }
void probe::closer::operator()(bpf_link *link) const noexcept { bpf_link__destroy(link); }

probe::probe(const lab &of, table which) : lab_(of), skeleton_(load())
{
	ring_.reset(ring_buffer__new(bpf_map__fd(skeleton_->maps.probe_records), write_down, &records_, nullptr));
	table_ = which == table::answers ? skeleton_->maps.probe_answers : skeleton_->maps.probe_quiet;
	link_.reset(bpf_map__attach_struct_ops(table_));
	if (!ring_ || !link_)
		throw std::runtime_error(std::string("the probe cannot be attached: ") + std::strerror(errno));
	for (const netns *each : {&of.client, &of.server}) {
		before_[each == &of.server] = must(each->get_sysctl(bpf::path_manager_sysctl));
		must(each->set_sysctl(bpf::path_manager_sysctl, name));
	}
}

probe::~probe()
{
	(void)lab_.client.set_sysctl(bpf::path_manager_sysctl, before_[0]);
	(void)lab_.server.set_sysctl(bpf::path_manager_sysctl, before_[1]);
}

void probe::answer_local_id(int id) const { skeleton_->bss->probe_local_id = id; }
void probe::answer_backup(bool backup) const { skeleton_->bss->probe_backup = backup; }
void probe::refuse(bool refused) const { skeleton_->bss->probe_refuse = refused; }
void probe::mark_established(std::uint32_t mark) const { skeleton_->bss->probe_mark = mark; }

const std::vector<probe_record> &probe::records()
{
	ring_buffer__consume(ring_.get());
	if (skeleton_->bss->probe_lost)
		throw std::runtime_error("the probe had no room for what it was told");
	return records_;
}

std::vector<probe_record> probe::all(unsigned type, std::uint32_t token)
{
	std::vector<probe_record> found;
	for (const probe_record &each : records())
		if (each.what.type == type && (!token || each.what.token == token))
			found.push_back(each);
	return found;
}

probe_record probe::expect(unsigned type, std::uint32_t token, const condition &such)
{
	probe_record found{};
	const auto is_there = [&] {
		const auto candidates = all(type, token);
		const auto at = std::find_if(candidates.begin(), candidates.end(),
					     [&](const probe_record &each) { return !such || such(each); });
		if (at == candidates.end())
			return false;
		found = *at;
		return true;
	};
	if (!await(patience, is_there))
		throw std::runtime_error("no such record of type " + std::to_string(type) + " among " +
					 std::to_string(count(type, token)));
	return found;
}

int probe::carry_out(probe_order order)
{
	const std::uint32_t number = ++orders_;
	order.number = number - 1;
	std::memcpy(&skeleton_->bss->probe_order, &order, sizeof order);
	__atomic_store_n(&skeleton_->bss->probe_order.number, number, __ATOMIC_RELEASE);
	return expect(PROBE_DONE, order.what.token, [=](const probe_record &each) { return each.number == number; })
		.error;
}

std::vector<probe_record> probe::list(unsigned type, std::uint32_t token)
{
	const std::size_t before = count(type, token);
	probe_order order{};
	order.what.type = PROBE_LIST;
	order.what.token = token;
	(void)carry_out(order);
	auto found = all(type, token);
	found.erase(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(before));
	return found;
}

int probe::update_by_itself() const
{
	// Not bpf_link__update_map(), which finds that out by itself.
	return bpf_link_update(bpf_link__fd(link_.get()), bpf_map__fd(table_), nullptr) == 0 ? 0 : -errno;
}

int probe::program(const char *called) const
{
	return bpf_program__fd(bpf_object__find_program_by_name(skeleton_->obj, called));
}

int try_to_attach(const char *table)
{
	probe_pm_bpf *skeleton = load();
	bpf_link *link = bpf_map__attach_struct_ops(bpf_object__find_map_by_name(skeleton->obj, table));
	const int error = link ? 0 : -errno;
	bpf_link__destroy(link);
	probe_pm_bpf__destroy(skeleton);
	return error;
}

descriptor listener(const lab &of, std::uint16_t port, const pm_addr &address, int protocol)
{
	return must(in_namespace(of.server, [&]() -> expected<descriptor> {
		const auto on_it = replay::to_sockaddr(address, port);
		descriptor made{socket(on_it.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, protocol)};
		const int on = 1;
		setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		if (!made || bind(made.get(), on_it.get(), on_it.length) != 0 || listen(made.get(), 100) != 0)
			return fail_errno("cannot listen");
		be_patient(made);
		return made;
	}));
}

connection::connection(const lab &of, const descriptor &listening, std::uint16_t port, bool ipv6)
{
	const auto to = replay::to_sockaddr(lab::server_address(0, ipv6), port);
	client = must(in_namespace(of.client, [&]() -> expected<descriptor> {
		descriptor made{socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP)};
		be_patient(made);
		if (!made || connect(made.get(), to.get(), to.length) != 0)
			return fail_errno("cannot connect");
		return made;
	}));
	server = descriptor{accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC)};
	be_patient(server);
	sockaddr_in6 own{}; // the port is where an IPv4 address has it
	socklen_t length = sizeof own;
	getsockname(client.get(), reinterpret_cast<sockaddr *>(&own), &length);
	client_port = ntohs(own.sin6_port);
}

void connection::carry_a_byte() const
{
	if (!carries(client, server) || !carries(server, client))
		throw std::runtime_error("a connection does not work");
}

void connection::reset_by_the_client()
{
	const linger at_once{1, 0};
	setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	client = descriptor{};
}

std::uint32_t connection::client_token() const
{
	mptcp_info info{};
	socklen_t length = sizeof info;
	if (getsockopt(client.get(), SOL_MPTCP, MPTCP_INFO, &info, &length) != 0)
		throw std::runtime_error("a connection is not one of MPTCP");
	return info.mptcpi_token;
}

unsigned interface_in(const netns &where, const char *name)
{
	return must(in_namespace(where, [&]() -> expected<unsigned> { return if_nametoindex(name); }));
}

// ---- the fixture ----

std::uint32_t probed::token_of(std::uint16_t client_port, bool of_server)
{
	return told
		.expect(PM_CREATED, 0,
			[=](const probe_record &each) {
				return (each.what.flags & PM_SERVER_SIDE ? of_server : !of_server) &&
				       (of_server ? each.what.remote_port : each.what.local_port) == client_port;
			})
		.what.token;
}

probed::pair probed::open(bool ipv6)
{
	connection ends(lab, listening, port, ipv6);
	ends.carry_a_byte();
	pair made{std::move(ends), 0, 0};
	made.client = token_of(made.ends.client_port, false);
	made.server = token_of(made.ends.client_port, true);
	(void)told.expect(PM_ESTABLISHED, made.client);
	(void)told.expect(PM_ESTABLISHED, made.server);
	return made;
}

probe_order probed::opening(std::uint32_t token, const pm_addr *local, const pm_addr *remote)
{
	probe_order made{};
	made.what.type = PM_OPEN_SUBFLOW;
	made.what.token = token;
	made.local = local ? PROBE_GIVEN : PROBE_NULL;
	made.remote = remote ? PROBE_GIVEN : PROBE_NULL;
	made.what.local = local ? *local : pm_addr{};
	made.what.remote = remote ? *remote : pm_addr{};
	return made;
}

int probed::announce(std::uint32_t token, pm_u8 id, const pm_addr &address, std::uint16_t of_port)
{
	probe_order made{};
	made.what.type = PM_ANNOUNCE;
	made.what.token = token;
	made.what.local = address;
	made.what.local_id = id;
	made.what.local_port = of_port;
	int error = 0;
	(void)await(patience, [&] { return (error = told.carry_out(made)) != -EAGAIN; });
	return error;
}

int probed::withdraw(std::uint32_t token, pm_u8 id)
{
	probe_order made{};
	made.what.type = PM_WITHDRAW;
	made.what.token = token;
	made.what.local_id = id;
	return told.carry_out(made);
}

probe_record probed::joined_from(const records &all, const pm_addr &local, std::uint16_t initial_port)
{
	for (const probe_record &each : all)
		if (same(each.what.local, local) && each.what.local_port != initial_port)
			return each;
	throw std::runtime_error("there is no such subflow");
}

} // namespace pm::test
