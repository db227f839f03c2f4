// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// libFuzzer target for the trace reader: no file crashes it, leaks or keeps it busy for ever, and what it reads is
// told a second time in the same way. The first byte of the input says whether the rest is a file, or the packets of
// one, so that the fuzzer need not guess a file header and a description of the family.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "replay/trace.hpp"

namespace {

using namespace pm;
using namespace pm::replay;

constexpr std::uint16_t family_id = 0x1c;

void require(bool holds, const char *what)
{
	if (holds)
		return;
	std::fprintf(stderr, "trace_fuzz: %s\n", what);
	std::abort();
}

// The header and the description that every trace of ours begins with.
const std::vector<char> &beginning()
{
	static const std::vector<char> bytes = [] {
		const std::string path = std::filesystem::temp_directory_path() /
					 ("trace_fuzz-" + std::to_string(::getpid()));
		auto writer = trace_writer::create(path, {family_id, 9, netlink::encode_family(family_id, 9)});
		require(writer && writer->close(), "cannot write a trace into the folder for temporary files");
		std::vector<char> read(4096);
		FILE *file = std::fopen(path.c_str(), "rb");
		read.resize(file ? std::fread(read.data(), 1, read.size(), file) : 0);
		require(file && !std::fclose(file) && !::unlink(path.c_str()), "cannot read what was written");
		return read;
	}();
	return bytes;
}

struct summary {
	std::uint64_t events = 0, foreign = 0, last_time = 0, sum = 0;
	bool failed = false;
	bool operator==(const summary &) const = default;
};

summary read_all(trace_reader &reader, std::size_t size)
{
	summary s;
	for (;;) {
		const auto record = reader.next();
		s.failed = !record;
		s.foreign = reader.foreign();
		if (!record || !*record)
			return s;
		const auto &[event, message] = **record;
		require(++s.events == event.seq && s.events + s.foreign <= size, "more events than bytes");
		require(event.time_ns >= s.last_time, "time goes back");
		require(message.size() >= 16 && message.size() <= size, "a message of an impossible size");
		s.last_time = event.time_ns;
		for (const std::byte b : message)
			s.sum = s.sum * 31 + std::to_integer<unsigned>(b);
	}
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	if (size == 0)
		return 0;
	const int fd = ::memfd_create("trace", MFD_CLOEXEC);
	require(fd >= 0, "no memfd");
	std::vector<char> file;
	if (data[0] & 1)
		file = beginning();
	file.insert(file.end(), data + 1, data + size);
	require(::write(fd, file.data(), file.size()) == static_cast<ssize_t>(file.size()), "cannot write");
	if (auto reader = trace_reader::open("/proc/self/fd/" + std::to_string(fd))) {
		require(reader->family().id > 0x10, "a family without a number");
		const summary first = read_all(*reader, file.size());
		require(reader->rewind().has_value(), "cannot go back");
		require(first == read_all(*reader, file.size()), "reads otherwise the second time");
	}
	::close(fd);
	return 0;
}
