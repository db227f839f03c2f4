// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Traces as libpcap writes and reads them. What a message means is the codec's; here is where messages begin and end,
// which of them are events, and what is wrong with a file.
#include "replay/trace.hpp"

#include <algorithm>
#include <array>
#include <bitset>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/genetlink.h>
#include <linux/if_arp.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <pcap/pcap.h>

#include "pm-netlink/netns.hpp"

namespace pm::replay {

namespace {

using netlink::bytes;
using netlink::refusal;

// What stands in front of the messages of each packet: see LINKTYPE_NETLINK of the tcpdump project. Big-endian.
struct cooked_header {
	std::uint16_t packet_type;
	std::uint16_t arphrd;
	std::uint8_t unused[10];
	std::uint16_t protocol;
};
static_assert(sizeof(cooked_header) == 16);

constexpr int snapshot_length = 65535;
constexpr std::size_t file_buffer = 256 << 10; // stdio's own, of 4 KiB, costs a system call for each 40 events
constexpr std::uint64_t second = 1'000'000'000;

struct pcap_closer {
	void operator()(pcap_t *p) const { pcap_close(p); }
	void operator()(pcap_dumper_t *p) const { pcap_dump_close(p); }
};
struct file_closer {
	void operator()(FILE *f) const { std::fclose(f); }
};
using file_ptr = std::unique_ptr<FILE, file_closer>;

} // namespace

// ---- writing ----

struct trace_writer::impl {
	std::string path, part;
	netlink::family family;
	bool described = false;
	std::uint64_t last_time = 0;
	std::unique_ptr<pcap_t, pcap_closer> format;
	std::unique_ptr<pcap_dumper_t, pcap_closer> file; // null: closed, or failed
	std::array<std::byte, snapshot_length> packet{};

	impl(const std::string &p, const netlink::family &f) : path(p), part(p + ".part"), family(f) {}
	impl(const impl &) = delete;
	impl &operator=(const impl &) = delete;
	~impl() { discard(); }

	[[nodiscard]] expected<void> open();
	[[nodiscard]] std::span<std::byte> payload() { return std::span(packet).subspan(sizeof(cooked_header)); }
	[[nodiscard]] expected<void> describe(std::uint64_t time_ns);
	[[nodiscard]] expected<void> put(std::size_t length, std::uint16_t protocol, std::uint64_t time_ns);
	tl::unexpected<error> failed()
	{
		auto why = fail_errno(fmt::format("cannot write trace '{}'", path));
		discard();
		return why;
	}
	void discard()
	{
		if (!file)
			return;
		file.reset();
		::unlink(part.c_str());
	}
};

expected<void> trace_writer::impl::open()
{
	// close() would put a file in the place of a device or a pipe.
	struct stat there{};
	if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode))
		return fail(
			fmt::format("cannot write trace '{}': it exists and is not a file; give another name", path));
	const auto reason = [&] {
		return fail_errno(fmt::format("cannot write trace '{}': cannot create '{}'", path, part));
	};
	descriptor fd(::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666));
	if (!fd)
		return reason();
	file_ptr stream(::fdopen(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0), "w"));
	format.reset(pcap_open_dead_with_tstamp_precision(DLT_NETLINK, snapshot_length, PCAP_TSTAMP_PRECISION_NANO));
	if (stream && format) {
		std::setvbuf(stream.get(), nullptr, _IOFBF, file_buffer);
		file.reset(pcap_dump_fopen(format.get(), stream.get()));
	}
	if (!file) {
		auto why = reason();
		::unlink(part.c_str());
		return why;
	}
	[[maybe_unused]] const auto owned_by_libpcap = stream.release();
	return {};
}

// Writes the packet whose payload() of `length` bytes is in place.
expected<void> trace_writer::impl::put(std::size_t length, std::uint16_t protocol, std::uint64_t time_ns)
{
	// PACKET_OUTGOING is what a capture on nlmon has, whose device "sends" what it is shown.
	const cooked_header header{htons(PACKET_OUTGOING), htons(ARPHRD_NETLINK), {}, htons(protocol)};
	std::memcpy(packet.data(), &header, sizeof header);
	pcap_pkthdr about{};
	about.ts.tv_sec = static_cast<time_t>(time_ns / second);
	about.ts.tv_usec = static_cast<suseconds_t>(time_ns % second); // nanoseconds, as said when the file was opened
	about.caplen = about.len = static_cast<bpf_u_int32>(sizeof header + length);
	pcap_dump(reinterpret_cast<u_char *>(file.get()), &about, reinterpret_cast<const u_char *>(packet.data()));
	if (std::ferror(pcap_dump_file(file.get()))) // pcap_dump() itself tells nothing
		return failed();
	return {};
}

// Puts the description in front of the first event, with its time: Wireshark counts time from the first packet.
expected<void> trace_writer::impl::describe(std::uint64_t time_ns)
{
	if (std::exchange(described, true))
		return {};
	std::copy(family.description.begin(), family.description.end(), payload().begin());
	return put(family.description.size(), NETLINK_GENERIC, time_ns);
}

trace_writer::trace_writer(std::unique_ptr<impl> i) : impl_(std::move(i)) {}
trace_writer::trace_writer(trace_writer &&) noexcept = default;
trace_writer &trace_writer::operator=(trace_writer &&) noexcept = default;
trace_writer::~trace_writer() = default;

expected<trace_writer> trace_writer::create(const std::string &path, const netlink::family &family)
{
	auto made = std::make_unique<impl>(path, family);
	if (family.description.empty() || family.description.size() > made->payload().size())
		return fail(
			fmt::format("cannot write trace '{}': no usable description of the family mptcp_pm was given",
				    path));
	if (auto opened = made->open(); !opened)
		return tl::unexpected(std::move(opened.error()));
	return trace_writer(std::move(made));
}

expected<void> trace_writer::write(const pm_event &event)
{
	impl &to = *impl_;
	const auto refused = [&](const char *why) {
		return fail(fmt::format("cannot write trace '{}': {}", to.path, why));
	};
	if (!to.file)
		return refused("it is closed, or writing to it failed before");
	if (event.time_ns < to.last_time || event.time_ns / second > UINT32_MAX) {
		to.discard();
		return refused(
			"an event's time is before that of the one in front of it, or beyond what pcap can hold");
	}
	if (auto described = to.describe(event.time_ns); !described)
		return described;
	const bool address = event.type == PM_LOCAL_ADDED || event.type == PM_LOCAL_REMOVED;
	const std::size_t length = address ? netlink::encode_address(event, to.payload())
					   : netlink::encode_event(event, to.family.id, to.payload());
	if (length == 0) {
		to.discard();
		return refused("an event lacks what its type needs, or is of a type that has no netlink message");
	}
	to.last_time = event.time_ns;
	return to.put(length, address ? NETLINK_ROUTE : NETLINK_GENERIC, event.time_ns);
}

expected<void> trace_writer::close()
{
	impl &to = *impl_;
	if (!to.file)
		return fail(
			fmt::format("cannot write trace '{}': it is closed, or writing to it failed before", to.path));
	if (auto described = to.describe(0); !described) // no event came
		return described;
	if (pcap_dump_flush(to.file.get()) != 0)
		return to.failed();
	if (::rename(to.part.c_str(), to.path.c_str()) != 0)
		return to.failed();
	to.file.reset();
	return {};
}

// ---- reading ----

namespace {

// A message in front of the description that may be an event of the family that is going to be described.
struct unnamed_events {
	std::bitset<65536> types;
	bool address = false;
};

// Requests to the kernel carry NLM_F_REQUEST; its answers the number of the socket that asked.
bool is_notification(const nlmsghdr &header) { return !(header.nlmsg_flags & NLM_F_REQUEST) && header.nlmsg_pid == 0; }

bool is_address(const nlmsghdr &header)
{
	// An answer to RTM_GETADDR tells as much as a notification.
	return (header.nlmsg_type == RTM_NEWADDR || header.nlmsg_type == RTM_DELADDR) &&
	       !(header.nlmsg_flags & NLM_F_REQUEST);
}

// Nothing if it is no time. libpcap hands out the seconds of a pcap file, which has 32 bits for them, as signed.
std::optional<std::uint64_t> to_ns(const timeval &time)
{
	const auto seconds = time.tv_sec < 0 ? static_cast<std::uint32_t>(time.tv_sec)
					     : static_cast<std::uint64_t>(time.tv_sec);
	if (time.tv_sec < INT32_MIN || seconds > UINT32_MAX || time.tv_usec < 0 || time.tv_usec >= suseconds_t{second})
		return std::nullopt;
	return seconds * second + static_cast<std::uint64_t>(time.tv_usec);
}

} // namespace

struct trace_reader::impl {
	std::string path;
	descriptor fd;
	std::unique_ptr<pcap_t, pcap_closer> pcap;
	netlink::family family;
	trace_record record{};
	nlmsghdr header{}; // of the message that was last taken
	bytes rest; // of the packet that was last read: messages not taken yet
	bool generic = false; // ... they are NETLINK_GENERIC, otherwise NETLINK_ROUTE
	bool failed = false;
	std::uint64_t packet = 0; // its number, counted from 1 as Wireshark does
	std::uint64_t foreign = 0;
	std::uint32_t events = 0;
	std::uint64_t packet_time = 0, first_time = 0;

	[[nodiscard]] expected<void> begin();
	[[nodiscard]] expected<bool> read_packet();
	[[nodiscard]] expected<bytes> take_message();
	[[nodiscard]] expected<void> read_description();
	[[nodiscard]] expected<bool> decode(bytes message);

	template <class... T>
	tl::unexpected<error> broken(fmt::format_string<T...> what, T &&...values)
	{
		failed = true;
		return fail(fmt::format("cannot read trace '{}': packet {} {}", path, packet,
					fmt::format(what, std::forward<T>(values)...)));
	}
};

expected<void> trace_reader::impl::begin()
{
	pcap.reset();
	rest = {};
	packet = foreign = packet_time = first_time = events = 0;
	record = {};
	failed = true; // until all of this has succeeded
	file_ptr stream(::fdopen(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0), "r"));
	if (!stream)
		return fail_errno(fmt::format("cannot read trace '{}'", path));
	std::setvbuf(stream.get(), nullptr, _IOFBF, file_buffer);
	char why[PCAP_ERRBUF_SIZE] = "";
	pcap.reset(pcap_fopen_offline_with_tstamp_precision(stream.get(), PCAP_TSTAMP_PRECISION_NANO, why));
	if (!pcap)
		return fail(fmt::format("'{}' is no trace: it cannot be read as a pcap file ({})", path, why));
	[[maybe_unused]] const auto owned_by_libpcap = stream.release();
	if (const int type = pcap_datalink(pcap.get()); type != DLT_NETLINK) {
		const char *name = pcap_datalink_val_to_name(type);
		return fail(fmt::format("'{}' is no trace: the link type of its packets is {} ({}), not NETLINK ({})",
					path, name ? name : "unknown", type, DLT_NETLINK));
	}
	if (pcap_is_swapped(pcap.get()))
		return fail(fmt::format("cannot read trace '{}': it was recorded on a machine of the other byte order",
					path));
	failed = false;
	return read_description();
}

// Yields false at the end.
expected<bool> trace_reader::impl::read_packet()
{
	pcap_pkthdr *about = nullptr;
	const u_char *data = nullptr;
	const int result = pcap_next_ex(pcap.get(), &about, &data);
	if (result == PCAP_ERROR_BREAK)
		return false;
	++packet;
	if (result != 1)
		return broken("cannot be read, the file is damaged or incomplete ({})", pcap_geterr(pcap.get()));
	cooked_header cooked;
	if (about->caplen < sizeof cooked)
		return broken("is shorter than its header");
	std::memcpy(&cooked, data, sizeof cooked);
	generic = cooked.protocol == htons(NETLINK_GENERIC);
	rest = {};
	if (!generic && cooked.protocol != htons(NETLINK_ROUTE)) {
		++foreign;
		return true;
	}
	const auto time = to_ns(about->ts);
	if (!time)
		return broken("has a time that is none");
	packet_time = std::max(packet_time, *time); // nlmon mixes up what several processors send at once
	rest = bytes(reinterpret_cast<const std::byte *>(data), about->caplen).subspan(sizeof cooked);
	return true;
}

// The next message, of this packet or of one that follows, its header in `header`; empty at the end. The message is
// whole, unless it is of a type that is foreign anyway.
expected<bytes> trace_reader::impl::take_message()
{
	while (rest.empty()) {
		const auto more = read_packet();
		if (!more)
			return tl::unexpected(more.error());
		if (!*more)
			return bytes{};
	}
	if (rest.size() < sizeof header)
		return broken("ends within the header of a message");
	std::memcpy(&header, rest.data(), sizeof header);
	const std::size_t length = header.nlmsg_len;
	if (length < sizeof header)
		return broken("holds a message that is shorter than its own header");
	if (length > rest.size()) {
		// Cut off when it was captured. What cannot be an event may be.
		const bool needed = generic ? header.nlmsg_type == family.id || family.id == 0 : is_address(header);
		if (needed)
			return broken("ends within a message");
		return std::exchange(rest, {});
	}
	const bytes message = rest.first(length);
	rest = rest.subspan(std::min<std::size_t>(NLMSG_ALIGN(length), rest.size()));
	return message;
}

expected<void> trace_reader::impl::read_description()
{
	family = {};
	const auto earlier = std::make_unique<unnamed_events>();
	for (;;) {
		const auto message = take_message();
		if (!message)
			return tl::unexpected(message.error());
		if (message->empty()) {
			failed = true;
			return fail(fmt::format(
				"'{}' is no trace: none of its {} packets describes the family mptcp_pm, so that "
				"its events have no name",
				path, packet));
		}
		if (generic && header.nlmsg_type == GENL_ID_CTRL) {
			auto found = netlink::decode_family(*message);
			if (found && (earlier->types[found->id] || earlier->address))
				return broken("describes the family mptcp_pm, but an event or an address stands in "
					      "front of it");
			if (found) {
				family = std::move(*found);
				return {};
			}
			if (found.error() != refusal::foreign && found.error() != refusal::unknown_type)
				return broken("holds a malformed description of a family ({})",
					      to_string(found.error()));
		} else if (generic && is_notification(header)) {
			earlier->types.set(header.nlmsg_type);
		} else if (!generic && is_address(header)) {
			earlier->address |= netlink::decode_address(*message).has_value();
		}
		++foreign;
	}
}

// Decodes a message into `record`. Yields false if it is no event.
expected<bool> trace_reader::impl::decode(bytes message)
{
	tl::expected<pm_event, refusal> event = tl::unexpected(refusal::foreign);
	if (generic && header.nlmsg_type == family.id && is_notification(header)) {
		event = netlink::decode_event(message, family.id);
	} else if (!generic && is_address(header)) {
		event = netlink::decode_address(message);
	} else if (generic && header.nlmsg_type == GENL_ID_CTRL) {
		const auto again = netlink::decode_family(message);
		if (again && again->id != family.id)
			return broken(
				"gives the family mptcp_pm the number {}, which was {} before: two traces in one file",
				again->id, family.id);
	}
	if (event) {
		record.event = *event;
		record.message = message;
		return true;
	}
	if (event.error() != refusal::foreign && event.error() != refusal::unknown_type)
		return broken("holds a malformed event ({})", to_string(event.error()));
	++foreign;
	return false;
}

trace_reader::trace_reader(std::unique_ptr<impl> i) : impl_(std::move(i)) {}
trace_reader::trace_reader(trace_reader &&) noexcept = default;
trace_reader &trace_reader::operator=(trace_reader &&) noexcept = default;
trace_reader::~trace_reader() = default;

expected<trace_reader> trace_reader::open(const std::string &path)
{
	auto made = std::make_unique<impl>();
	made->path = path;
	made->fd = descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
	if (!made->fd)
		return fail_errno(fmt::format("cannot open trace '{}'", path));
	if (auto begun = made->begin(); !begun)
		return tl::unexpected(std::move(begun.error()));
	return trace_reader(std::move(made));
}

expected<const trace_record *> trace_reader::next()
{
	impl &from = *impl_;
	if (from.failed)
		return fail(fmt::format("cannot read trace '{}' any further: it failed before", from.path));
	for (;;) {
		const auto message = from.take_message();
		if (!message)
			return tl::unexpected(message.error());
		if (message->empty())
			return nullptr;
		const auto decoded = from.decode(*message);
		if (!decoded)
			return tl::unexpected(decoded.error());
		if (*decoded)
			break;
	}
	if (from.events == UINT32_MAX)
		return from.broken("holds the event beyond the {} that can be numbered", UINT32_MAX);
	if (from.events++ == 0)
		from.first_time = from.packet_time;
	from.record.event.seq = from.events;
	from.record.event.time_ns = from.packet_time - from.first_time;
	return &from.record;
}

expected<void> trace_reader::rewind()
{
	if (::lseek(impl_->fd.get(), 0, SEEK_SET) != 0)
		return fail_errno(fmt::format("cannot go back to the beginning of trace '{}'", impl_->path));
	return impl_->begin();
}

const netlink::family &trace_reader::family() const noexcept { return impl_->family; }
std::uint64_t trace_reader::foreign() const noexcept { return impl_->foreign; }
const std::string &trace_reader::path() const noexcept { return impl_->path; }

} // namespace pm::replay
