// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/decisions.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <vector>

namespace pm::replay {

decision digest(const pm_command &command, std::uint32_t seq) noexcept
{
	// 48 bytes without padding, six words: mixed so that a difference in any bit spreads (a multiply-xorshift for each).
	std::uint64_t words[sizeof command / 8], mixed = 0x9e3779b97f4a7c15;
	std::memcpy(words, &command, sizeof command);
	for (const std::uint64_t word : words) {
		mixed = (mixed ^ word) * 0xff51afd7ed558ccd;
		mixed ^= mixed >> 32;
	}
	return {seq, command.token, mixed};
}

expected<decision_log> decision_log::create()
{
	std::FILE *file = std::tmpfile();
	if (!file)
		return fail_errno("cannot create a temporary file for the decisions of the run");
	std::setvbuf(file, nullptr, _IOFBF, 1 << 16);
	return decision_log{file};
}

void decision_log::add(const decision &one) noexcept
{
	full_ = std::fwrite(&one, sizeof one, 1, file_.get()) != 1 || full_;
}

expected<void> decision_log::rewind()
{
	if (full_ || std::fflush(file_.get()) != 0)
		return fail_errno("cannot write the decisions of the run to a temporary file: is the disk full?");
	std::rewind(file_.get());
	return {};
}

expected<bool> decision_log::next(decision &out)
{
	if (std::fread(&out, sizeof out, 1, file_.get()) == 1)
		return true;
	if (std::ferror(file_.get()))
		return fail_errno("cannot read the decisions of the run back");
	return false;
}

struct decision_comparison::state {
	decision_log &made;
	std::optional<decision> ahead; // the next of `made`
	bool started = false;
	decision_counts counts;
	// Of each open connection, the digests of what was expected and has not been made.
	std::unordered_map<std::uint32_t, std::vector<std::uint64_t>> open;

	explicit state(decision_log &log) : made(log) {}

	expected<void> advance()
	{
		decision one{};
		const auto more = made.next(one);
		if (!more)
			return tl::unexpected(more.error());
		ahead = *more ? std::optional{one} : std::nullopt;
		return {};
	}

	// What was made meets an expectation that stands already: made before it, it was wrong.
	void take(const decision &one)
	{
		++counts.made;
		const auto entries = open.find(one.token);
		const auto at = entries == open.end()
					? decltype(entries->second.begin()){}
					: std::find(entries->second.begin(), entries->second.end(), one.digest);
		if (entries == open.end() || at == entries->second.end()) {
			++counts.wrong;
			return;
		}
		*at = entries->second.back();
		entries->second.pop_back();
		if (entries->second.empty())
			open.erase(entries);
	}

	void close(std::uint32_t token)
	{
		const auto at = open.find(token);
		if (at == open.end())
			return;
		counts.missing += at->second.size();
		open.erase(at);
	}

	// Takes what was made at events up to `seq`.
	expected<void> take_made(std::uint32_t seq)
	{
		if (!started) {
			started = true;
			if (auto read = advance(); !read)
				return read;
		}
		while (ahead && ahead->seq <= seq) {
			take(*ahead);
			if (auto read = advance(); !read)
				return read;
		}
		return {};
	}
};

decision_comparison::decision_comparison(decision_log &made) : state_(std::make_shared<state>(made)) {}

void decision_comparison::expect(const pm_result &result)
{
	for (unsigned i = 0; i < result.commands; ++i) {
		const decision one = digest(result.command[i], result.seq);
		++state_->counts.expected;
		state_->open[one.token].push_back(one.digest);
	}
}

expected<void> decision_comparison::pass(const pm_event &event)
{
	if (auto taken = state_->take_made(event.seq); !taken)
		return taken;
	if (event.type == PM_CLOSED)
		state_->close(event.token);
	return {};
}

expected<decision_counts> decision_comparison::finish()
{
	if (auto taken = state_->take_made(UINT32_MAX); !taken)
		return tl::unexpected(taken.error());
	while (!state_->open.empty())
		state_->close(state_->open.begin()->first);
	return state_->counts;
}

} // namespace pm::replay
