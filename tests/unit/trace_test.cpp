// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Traces: what is written is read back, Wireshark's dissector knows it, and whatever is wrong with a file is said.
#include "replay/trace.hpp"

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <pcap/pcap.h>

#include "tests/support/events.hpp"

using namespace pm;
using namespace pm::test;
using pm::replay::trace_reader;
using pm::replay::trace_record;
using pm::replay::trace_writer;

namespace {

constexpr std::uint16_t family_id = 0x1f;
using octets = std::vector<std::byte>;

netlink::family described(std::uint16_t id = family_id) { return {id, 9, netlink::encode_family(id, 9)}; }

// A folder that is gone with the object.
struct folder {
	std::filesystem::path path;
	folder()
	{
		std::string name = testing::TempDir() + "/pathlab-trace-XXXXXX";
		path = ::mkdtemp(name.data());
	}
	~folder() { std::filesystem::remove_all(path); }
	[[nodiscard]] std::string file(const char *name = "trace.pcap") const { return path / name; }
	[[nodiscard]] bool empty() const { return std::filesystem::is_empty(path); }
};

// One of each event that a trace can hold, a millisecond apart.
std::vector<pm_event> one_of_each()
{
	pm_event closed = on_path(PM_SUB_CLOSED, 7, local6(2), local6(1), 40001);
	closed.error = ECONNRESET;
	closed.ifindex = 3;
	pm_event priority = on_path(PM_SUB_PRIORITY, 7, local4(2), remote4(1), 40001);
	priority.flags = PM_BACKUP;
	pm_event listener = event(PM_LISTENER_CREATED, 0);
	listener.local = local4(1);
	listener.local_port = 80;
	listener.has_local = 1;
	std::vector<pm_event> events = {
		local_added(local4(1)),
		local_added(local6(1)),
		created(7),
		established(7, local6(1), remote6(1)),
		announced(7, 1, remote4(2)),
		on_path(PM_SUB_ESTABLISHED, 7, local4(2), remote4(1), 40001),
		closed,
		priority,
		removed(7, 1),
		local_removed(local6(1)),
		listener,
		event(PM_CLOSED, 7),
	};
	for (std::size_t i = 0; i < events.size(); ++i)
		events[i].time_ns = 1'700'000'000'123'456'789 + i * 1'000'001;
	return events;
}

void write_trace(const std::string &path, const std::vector<pm_event> &events)
{
	auto writer = trace_writer::create(path, described());
	ASSERT_TRUE(writer) << writer.error().text;
	for (const pm_event &e : events) {
		const auto done = writer->write(e);
		ASSERT_TRUE(done) << done.error().text;
	}
	const auto closed = writer->close();
	ASSERT_TRUE(closed) << closed.error().text;
}

// ---- files that no writer of ours would write ----

octets cooked(std::uint16_t protocol, const octets &messages)
{
	octets packet(16);
	packet[2] = std::byte{824 >> 8}, packet[3] = std::byte{824 & 0xff};
	packet[15] = std::byte(protocol);
	packet.insert(packet.end(), messages.begin(), messages.end());
	return packet;
}

octets in_bytes(const pm_event &e, std::uint16_t id = family_id)
{
	octets message(netlink::max_message);
	message.resize(e.token == 0 ? netlink::encode_address(e, message) : netlink::encode_event(e, id, message));
	return message;
}

octets event_packet(const pm_event &e) { return cooked(e.token == 0 ? NETLINK_ROUTE : NETLINK_GENERIC, in_bytes(e)); }
octets description(std::uint16_t id = family_id) { return cooked(NETLINK_GENERIC, netlink::encode_family(id, 9)); }

octets with_header(octets packet, const std::function<void(nlmsghdr &)> &change)
{
	nlmsghdr header;
	std::memcpy(&header, packet.data() + 16, sizeof header);
	change(header);
	std::memcpy(packet.data() + 16, &header, sizeof header);
	return packet;
}

// A message of a family that is none of ours.
octets other_family()
{
	octets message(20);
	const nlmsghdr header{20, 0x30, 0, 0, 0};
	std::memcpy(message.data(), &header, sizeof header);
	return cooked(NETLINK_GENERIC, message);
}

void write_pcap(const std::string &path, const std::vector<octets> &packets, int link_type = DLT_NETLINK)
{
	pcap_t *format = pcap_open_dead_with_tstamp_precision(link_type, 65535, PCAP_TSTAMP_PRECISION_NANO);
	pcap_dumper_t *file = pcap_dump_open(format, path.c_str());
	ASSERT_NE(file, nullptr) << pcap_geterr(format);
	pcap_pkthdr about{};
	for (const octets &packet : packets) {
		about.caplen = about.len = static_cast<bpf_u_int32>(packet.size());
		about.ts.tv_usec += 1000;
		pcap_dump(reinterpret_cast<u_char *>(file), &about, reinterpret_cast<const u_char *>(packet.data()));
	}
	pcap_dump_close(file);
	pcap_close(format);
}

struct reading {
	std::vector<pm_event> events;
	std::uint64_t foreign = 0;
	std::string error; // empty: it was read to its end
};

reading read_trace(const std::string &path)
{
	reading result;
	auto reader = trace_reader::open(path);
	if (!reader)
		return {{}, 0, reader.error().text};
	for (;;) {
		const auto record = reader->next();
		result.foreign = reader->foreign();
		if (!record) {
			result.error = record.error().text;
			EXPECT_FALSE(reader->next());
			return result;
		}
		if (!*record)
			return result;
		result.events.push_back((*record)->event);
	}
}

std::string run(const std::string &command)
{
	FILE *pipe = ::popen(command.c_str(), "r");
	std::string text;
	for (int c; pipe && (c = std::fgetc(pipe)) != EOF;)
		text += static_cast<char>(c);
	if (pipe)
		::pclose(pipe);
	return text;
}

} // namespace

// ---- reading back ----

TEST(trace, reads_back_what_was_written_event_for_event)
{
	const folder dir;
	const auto written = one_of_each();
	write_trace(dir.file(), written);
	const auto read = read_trace(dir.file());
	EXPECT_EQ(read.error, "");
	EXPECT_EQ(read.foreign, 0u);
	ASSERT_EQ(read.events.size(), written.size());
	for (std::size_t i = 0; i < written.size(); ++i) {
		pm_event expected = written[i];
		expected.seq = static_cast<std::uint32_t>(i + 1);
		expected.time_ns -= written[0].time_ns;
		EXPECT_EQ(std::memcmp(&read.events[i], &expected, sizeof expected), 0) << "event " << i;
	}
}

TEST(trace, hands_out_the_messages_as_they_were_recorded)
{
	const folder dir;
	const auto written = one_of_each();
	write_trace(dir.file(), written);
	auto reader = trace_reader::open(dir.file());
	ASSERT_TRUE(reader) << reader.error().text;
	EXPECT_EQ(reader->family().id, family_id);
	EXPECT_EQ(reader->family().events_group, 9u);
	EXPECT_EQ(reader->path(), dir.file());
	for (const pm_event &e : written) {
		const auto record = reader->next();
		ASSERT_TRUE(record && *record);
		const netlink::bytes message = (*record)->message;
		const bool address = e.type == PM_LOCAL_ADDED || e.type == PM_LOCAL_REMOVED;
		const auto again = address ? netlink::decode_address(message)
					   : netlink::decode_event(message, family_id);
		ASSERT_TRUE(again);
		EXPECT_EQ(again->type, e.type);
		std::uint32_t length;
		std::memcpy(&length, message.data(), sizeof length);
		EXPECT_EQ(length, message.size());
	}
	EXPECT_EQ(*reader->next(), nullptr);
	EXPECT_EQ(*reader->next(), nullptr);
}

TEST(trace, can_be_read_again_and_again)
{
	const folder dir;
	const auto written = one_of_each();
	write_trace(dir.file(), written);
	auto reader = trace_reader::open(dir.file());
	ASSERT_TRUE(reader);
	std::filesystem::remove(dir.file()); // it is the file that was opened, not the name
	for (int round = 0; round < 3; ++round) {
		std::size_t count = 0;
		for (auto record = reader->next(); record && *record; record = reader->next())
			EXPECT_EQ((*record)->event.seq, ++count);
		EXPECT_EQ(count, written.size());
		const auto back = reader->rewind();
		ASSERT_TRUE(back) << back.error().text;
	}
}

TEST(trace, without_events_is_a_trace)
{
	const folder dir;
	write_trace(dir.file(), {});
	const auto read = read_trace(dir.file());
	EXPECT_EQ(read.error, "");
	EXPECT_TRUE(read.events.empty());
}

TEST(trace, keeps_times_of_late_decades)
{
	const folder dir;
	pm_event first = created(1), last = event(PM_CLOSED, 1);
	first.time_ns = 0;
	last.time_ns = 4'294'967'295'999'999'999; // the last that pcap can say, in 2106
	write_trace(dir.file(), {first, last});
	const auto read = read_trace(dir.file());
	ASSERT_EQ(read.events.size(), 2u) << read.error;
	EXPECT_EQ(read.events[1].time_ns, last.time_ns);
}

TEST(trace, passes_over_and_counts_what_is_no_event)
{
	const folder dir;
	pm_event of_ours = created(3);
	octets two_in_one = in_bytes(created(4));
	const octets second = in_bytes(event(PM_CLOSED, 4));
	two_in_one.insert(two_in_one.end(), second.begin(), second.end());
	octets link_local = event_packet(local_added(ipv6(0, 1)));
	link_local[16 + 16 + 8 + 4] = std::byte{0xfe}, link_local[16 + 16 + 8 + 5] = std::byte{0x80};
	write_pcap(dir.file(),
		   {
			   other_family(),
			   cooked(NETLINK_SOCK_DIAG, octets(3)), // not looked into
			   description(),
			   event_packet(local_added(local4(1))),
			   with_header(event_packet(of_ours),
				       [](nlmsghdr &h) { h.nlmsg_flags = NLM_F_REQUEST; }), // a command
			   with_header(event_packet(of_ours), [](nlmsghdr &h) { h.nlmsg_pid = 4711; }), // an answer
			   with_header(event_packet(local_added(local4(2))),
				       [](nlmsghdr &h) { h.nlmsg_flags = NLM_F_REQUEST; }),
			   with_header(event_packet(local_added(local4(2))),
				       [](nlmsghdr &h) { h.nlmsg_type = RTM_NEWLINK; }),
			   link_local,
			   description(),
			   event_packet(of_ours),
			   cooked(NETLINK_GENERIC, two_in_one),
		   });
	const auto read = read_trace(dir.file());
	EXPECT_EQ(read.error, "");
	EXPECT_EQ(read.foreign, 8u);
	ASSERT_EQ(read.events.size(), 4u);
	EXPECT_EQ(read.events[0].type, PM_LOCAL_ADDED);
	EXPECT_EQ(read.events[1].token, 3u);
	EXPECT_EQ(read.events[2].token, 4u);
	EXPECT_EQ(read.events[3].type, PM_CLOSED);
	EXPECT_EQ(read.events[2].time_ns, read.events[3].time_ns);
}

TEST(trace, never_goes_back_in_time)
{
	const folder dir;
	write_pcap(dir.file(), {description(), event_packet(created(1)), event_packet(created(2))});
	std::fstream file(dir.file(), std::ios::in | std::ios::out | std::ios::binary);
	const std::uint32_t earlier = 1;
	file.seekp(24 + 16 + static_cast<long>(description().size()) + 16 +
		   static_cast<long>(event_packet(created(1)).size()) + 4);
	file.write(reinterpret_cast<const char *>(&earlier), sizeof earlier); // the nanoseconds of the last packet
	file.close();
	const auto read = read_trace(dir.file());
	ASSERT_EQ(read.events.size(), 2u) << read.error;
	EXPECT_EQ(read.events[1].time_ns, 0u);
}

// ---- Wireshark ----

TEST(trace, is_dissected_by_tshark_without_a_malformed_frame)
{
	if (std::system("tshark --version >/dev/null 2>&1") != 0)
		GTEST_SKIP() << "tshark is not installed";
	const folder dir;
	const auto written = one_of_each();
	write_trace(dir.file(), written);
	EXPECT_EQ(run(fmt::format("tshark -r '{}' -Y '_ws.malformed || _ws.expert' 2>&1 | grep -v 'Running as user'",
				  dir.file())),
		  ""); // a filter that tshark does not take would show, too
	const auto text = run(fmt::format("tshark -r '{}' -V 2>/dev/null", dir.file()));
	const auto count = [&](const std::string &what) {
		std::size_t found = 0;
		for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
			++found;
		return found;
	};
	EXPECT_EQ(count("\nFrame "), written.size()); // and the first, which no line precedes
	EXPECT_EQ(count("Linux rtnetlink (route netlink) protocol"), 3u);
	EXPECT_EQ(count("Message type: Add IP address"), 2u);
	EXPECT_EQ(count("Message type: Delete IP address"), 1u);
	EXPECT_EQ(count("Linux Generic Netlink protocol"), written.size() - 3 + 1);
	EXPECT_EQ(count(fmt::format("Family ID: 0x{:02x} (mptcp_pm)", family_id)), written.size() - 3)
		<< text.substr(0, 6000);
}

// ---- what is wrong with a file ----

struct bad_file {
	const char *name;
	std::function<void(const std::string &)> make;
	const char *says;
};
void PrintTo(const bad_file &b, std::ostream *out) { *out << b.name; }

class bad_trace : public testing::TestWithParam<bad_file> {};

TEST_P(bad_trace, is_refused_in_one_sentence)
{
	const folder dir;
	ASSERT_NO_FATAL_FAILURE(GetParam().make(dir.file()));
	const auto read = read_trace(dir.file());
	EXPECT_NE(read.error.find(GetParam().says), std::string::npos) << read.error;
	EXPECT_NE(read.error.find(dir.file()), std::string::npos) << read.error;
	EXPECT_EQ(read.error.find('\n'), std::string::npos) << read.error;
}

octets without_its_last(octets packet, std::size_t bytes)
{
	packet.resize(packet.size() - bytes);
	return packet;
}

// Writes a good trace and keeps the first `bytes` of it, or all but the last -`bytes`.
std::function<void(const std::string &)> cut(long bytes)
{
	return [bytes](const std::string &path) {
		write_trace(path, one_of_each());
		const auto size = static_cast<long>(std::filesystem::file_size(path));
		std::filesystem::resize_file(path, static_cast<std::uintmax_t>(bytes < 0 ? size + bytes : bytes));
	};
}

std::function<void(const std::string &)> packets(std::vector<octets> all, int link_type = DLT_NETLINK)
{
	return [all = std::move(all), link_type](const std::string &path) { write_pcap(path, all, link_type); };
}

octets with_unknown_length(std::uint32_t length)
{
	return with_header(event_packet(created(1)), [length](nlmsghdr &h) { h.nlmsg_len = length; });
}

INSTANTIATE_TEST_SUITE_P(
	trace, bad_trace,
	testing::Values(
		bad_file{"no_file", [](const std::string &) {}, "No such file"},
		bad_file{"a_folder", [](const std::string &path) { std::filesystem::create_directory(path); },
			 "Is a directory"},
		bad_file{"empty", [](const std::string &path) { std::ofstream{path}; },
			 "cannot be read as a pcap file"},
		bad_file{"text",
			 [](const std::string &path) { std::ofstream{path} << "token,type,address\n1,2,10.0.0.1\n"; },
			 "cannot be read as a pcap file"},
		bad_file{"ethernet", packets({octets(60)}, DLT_EN10MB), "EN10MB (1), not NETLINK"},
		bad_file{"no_packets", packets({}), "none of its 0 packets describes the family mptcp_pm"},
		bad_file{"no_description", packets({event_packet(created(1)), other_family()}),
			 "none of its 2 packets describes"},
		bad_file{"an_event_before_its_description", packets({event_packet(created(1)), description()}),
			 "packet 2 describes the family mptcp_pm, but an event or an address stands in front of it"},
		bad_file{"an_address_before_the_description",
			 packets({event_packet(local_added(local4(1))), description()}),
			 "packet 2 describes the family mptcp_pm, but an event or an address"},
		bad_file{"two_boots", packets({description(), event_packet(created(1)), description(0x20)}),
			 "packet 3 gives the family mptcp_pm the number 32, which was 31 before"},
		bad_file{"cut_in_a_packet", cut(-7), "packet 13 cannot be read"},
		bad_file{"cut_in_a_packet_header", cut(24 + 5), "packet 1 cannot be read"},
		bad_file{"cut_in_the_file_header", cut(11), "cannot be read as a pcap file"},
		bad_file{"short_packet", packets({description(), octets(15)}), "packet 2 is shorter than its header"},
		bad_file{"short_message", packets({description(), without_its_last(event_packet(created(1)), 4)}),
			 "packet 2 ends within a message"},
		bad_file{"short_message_header", packets({description(), cooked(NETLINK_GENERIC, octets(9))}),
			 "packet 2 ends within the header of a message"},
		bad_file{"length_0", packets({description(), with_unknown_length(0)}),
			 "packet 2 holds a message that is shorter"},
		bad_file{"length_4294967295", packets({description(), with_unknown_length(UINT32_MAX)}),
			 "packet 2 ends within a message"},
		bad_file{"event_without_a_token",
			 packets({description(), event_packet(created(1)), with_unknown_length(20)}),
			 "packet 3 holds a malformed event (missing attribute)"},
		bad_file{"no_usable_description", packets({without_its_last(description(), 8)}),
			 "packet 1 ends within a message"}),
	[](const auto &of) { return std::string(of.param.name); });

TEST(trace, may_be_cut_anywhere_without_more_than_an_error)
{
	const folder dir;
	write_trace(dir.file(), one_of_each());
	for (auto size = std::filesystem::file_size(dir.file()); size-- > 0;) {
		std::filesystem::resize_file(dir.file(), size);
		const auto read = read_trace(dir.file());
		EXPECT_LT(read.events.size(), one_of_each().size());
	}
}

TEST(trace, from_a_pipe_cannot_be_read_twice)
{
	const folder dir;
	write_trace(dir.file("file"), one_of_each());
	ASSERT_EQ(::mkfifo(dir.file("pipe").c_str(), 0600), 0);
	FILE *feeder = ::popen(fmt::format("cat '{}' >'{}'", dir.file("file"), dir.file("pipe")).c_str(), "r");
	auto reader = trace_reader::open(dir.file("pipe"));
	ASSERT_TRUE(reader) << reader.error().text;
	EXPECT_NE(*reader->next(), nullptr);
	EXPECT_FALSE(reader->rewind());
	::pclose(feeder);
}

// ---- what cannot be written ----

TEST(trace, is_not_there_before_it_is_closed)
{
	const folder dir;
	{
		auto writer = trace_writer::create(dir.file(), described());
		ASSERT_TRUE(writer);
		EXPECT_TRUE(writer->write(created(1)));
		EXPECT_FALSE(std::filesystem::exists(dir.file()));
	}
	EXPECT_TRUE(dir.empty());
}

TEST(trace, replaces_an_older_one_only_when_it_is_complete)
{
	const folder dir;
	write_trace(dir.file(), {created(1)});
	{
		auto writer = trace_writer::create(dir.file(), described());
		ASSERT_TRUE(writer && writer->write(created(2)));
	}
	EXPECT_EQ(read_trace(dir.file()).events.at(0).token, 1u);
	write_trace(dir.file(), {created(3)});
	EXPECT_EQ(read_trace(dir.file()).events.at(0).token, 3u);
	EXPECT_FALSE(std::filesystem::exists(dir.file() + ".part"));
}

TEST(trace, says_where_it_cannot_be_written)
{
	const folder dir;
	const struct {
		std::string path;
		const char *says;
	} cases[] = {
		{dir.file("no/such/folder/trace.pcap"), "No such file or directory"},
		{"/proc/trace.pcap", "cannot create '/proc/trace.pcap.part'"},
		{"/dev/null", "exists and is not a file"},
		{dir.path, "exists and is not a file"},
	};
	for (const auto &c : cases) {
		const auto writer = trace_writer::create(c.path, described());
		ASSERT_FALSE(writer) << c.path;
		EXPECT_NE(writer.error().text.find(c.says), std::string::npos) << writer.error().text;
	}
	EXPECT_TRUE(dir.empty());
}

TEST(trace, leaves_nothing_behind_when_there_is_no_more_room)
{
	const folder dir;
	rlimit before{};
	::getrlimit(RLIMIT_FSIZE, &before);
	const auto handler = std::signal(SIGXFSZ, SIG_IGN);
	const rlimit small{100'000, before.rlim_max};
	::setrlimit(RLIMIT_FSIZE, &small); // a full disk that needs no privilege
	std::string error, again;
	{
		auto writer = trace_writer::create(dir.file(), described());
		for (int i = 0; writer && i < 10'000 && error.empty(); ++i)
			if (const auto done = writer->write(created(1)); !done)
				error = done.error().text;
		if (const auto closed = writer->close(); !closed)
			again = closed.error().text;
	}
	::setrlimit(RLIMIT_FSIZE, &before);
	std::signal(SIGXFSZ, handler);
	EXPECT_NE(error.find("File too large"), std::string::npos) << error;
	EXPECT_NE(again, "");
	EXPECT_TRUE(dir.empty());
}

TEST(trace, refuses_events_that_have_no_place_in_one)
{
	pm_event late = created(1), early = created(1), endless = created(1);
	late.time_ns = 10;
	early.time_ns = 9;
	endless.time_ns = UINT64_MAX;
	const std::vector<pm_event> cases[] = {
		{late, early},
		{endless},
		{event(PM_RESYNC_BEGIN, 0)},
		{created(0)},
		{event(PM_CREATED, 1)},
		{event(PM_LOCAL_ADDED, 0)},
	};
	for (const auto &events : cases) {
		const folder dir;
		auto writer = trace_writer::create(dir.file(), described());
		ASSERT_TRUE(writer);
		for (std::size_t i = 0; i + 1 < events.size(); ++i)
			EXPECT_TRUE(writer->write(events[i]));
		EXPECT_FALSE(writer->write(events.back()));
		EXPECT_FALSE(writer->write(created(1)));
		EXPECT_FALSE(writer->close());
		EXPECT_TRUE(dir.empty());
	}
}
