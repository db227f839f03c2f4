// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/interrupt.hpp"

#include <atomic>
#include <csignal>

#include <sys/eventfd.h>
#include <unistd.h>

namespace pm::replay {

namespace {

std::atomic<bool> caught{false};
std::atomic<int> wakeup{-1};

// A second one ends the process, should the first not be heeded. Not so of SIGHUP: a terminal that is closed sends it, and so
// does the shell in it, both at once.
extern "C" void note_interrupt(int signal)
{
	caught.store(true);
	const std::uint64_t one = 1;
	if (write(wakeup.load(), &one, sizeof one) < 0) {
		// the flag is enough
	}
	if (signal != SIGHUP)
		std::signal(signal, SIG_DFL);
}

} // namespace

void catch_interrupts()
{
	wakeup.store(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	struct sigaction action{};
	action.sa_handler = note_interrupt; // without SA_RESTART: sleeps end
	sigaction(SIGINT, &action, nullptr);
	sigaction(SIGTERM, &action, nullptr);
	struct sigaction before{};
	sigaction(SIGHUP, nullptr, &before);
	if (before.sa_handler != SIG_IGN) // nohup
		sigaction(SIGHUP, &action, nullptr);
}

bool interrupted() noexcept { return caught.load(std::memory_order_relaxed); }
int interrupt_fd() noexcept { return wakeup.load(); }

} // namespace pm::replay
