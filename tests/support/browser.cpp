// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "tests/support/browser.hpp"

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace pm::test {

namespace fs = std::filesystem;

namespace {

// The debugging pipe is at these descriptors: what chromium reads, what it writes.
constexpr int commands = 3, answers = 4;

[[noreturn]] void become_chromium(const std::string &profile, int read_end, int write_end)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	// Out of the way first, in case they are each other's.
	const int in = fcntl(read_end, F_DUPFD, 10), out = fcntl(write_end, F_DUPFD, 10);
	const int nowhere = open("/dev/null", O_RDWR);
	for (const int each : {0, 1, 2})
		dup2(nowhere, each);
	dup2(in, commands);
	dup2(out, answers);
	const std::string folder = "--user-data-dir=" + profile;
	execlp("chromium", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
	       "--no-first-run", "--hide-scrollbars", "--disable-background-networking", "--remote-debugging-pipe",
	       folder.c_str(), nullptr);
	_exit(127);
}

std::string from_base64(const std::string &text)
{
	std::array<int, 256> value{};
	value.fill(-1);
	const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (std::size_t i = 0; i < letters.size(); ++i)
		value[static_cast<unsigned char>(letters[i])] = static_cast<int>(i);
	std::string bytes;
	unsigned bits = 0, have = 0;
	for (const char c : text) {
		const int each = value[static_cast<unsigned char>(c)];
		if (each < 0)
			break;
		bits = bits << 6 | static_cast<unsigned>(each);
		have += 6;
		if (have >= 8)
			bytes += static_cast<char>(bits >> (have -= 8) & 255);
	}
	return bytes;
}

void write_decoded(const std::string &file, const json &answer)
{
	std::ofstream{file, std::ios::binary} << from_base64(answer.value("data", ""));
}

} // namespace

std::unique_ptr<browser> browser::start()
{
	if (std::system("command -v chromium >/dev/null") != 0)
		return nullptr;
	std::unique_ptr<browser> one{new browser};
	one->profile_ = (fs::temp_directory_path() / "pathlab-browser-XXXXXX").string();
	int down[2], up[2];
	if (!mkdtemp(one->profile_.data()) || pipe2(down, O_CLOEXEC) != 0 || pipe2(up, O_CLOEXEC) != 0)
		return nullptr;
	one->pid_ = fork();
	if (one->pid_ == 0)
		become_chromium(one->profile_, down[0], up[1]);
	close(down[0]);
	close(up[1]);
	one->to_ = down[1];
	one->from_ = up[0];
	const json target = one->call("Target.createTarget", {{"url", "about:blank"}});
	if (!target.contains("targetId"))
		return nullptr;
	const json attached = one->call("Target.attachToTarget", {{"targetId", target["targetId"]}, {"flatten", true}});
	one->session_ = attached.value("sessionId", "");
	for (const char *what : {"Page.enable", "Runtime.enable", "Log.enable", "Network.enable"})
		one->call(what);
	return one;
}

browser::~browser()
{
	for (const int each : {to_, from_})
		if (each >= 0)
			close(each);
	if (pid_ > 0) {
		kill(-pid_, SIGKILL);
		waitpid(pid_, nullptr, 0);
	}
	// Its children, which are not ours to wait for, may still write there.
	std::error_code failed;
	for (int i = 0; !profile_.empty() && i < 50; ++i) {
		fs::remove_all(profile_, failed);
		if (!failed && !fs::exists(profile_))
			break;
		poll(nullptr, 0, 20);
	}
}

bool browser::read_message(json &message, double seconds)
{
	for (;;) {
		if (const auto end = buffer_.find('\0'); end != std::string::npos) {
			message = json::parse(buffer_.substr(0, end), nullptr, false);
			buffer_.erase(0, end + 1);
			return message.is_object();
		}
		pollfd ready{.fd = from_, .events = POLLIN, .revents = 0};
		if (poll(&ready, 1, static_cast<int>(seconds * 1e3)) <= 0)
			return false;
		char block[65536];
		const ssize_t n = read(from_, block, sizeof block);
		if (n <= 0)
			return false;
		buffer_.append(block, static_cast<std::size_t>(n));
	}
}

json browser::call(const std::string &method, const json &parameters)
{
	const int number = next_++;
	json command = {{"id", number}, {"method", method}, {"params", parameters}};
	if (!session_.empty())
		command["sessionId"] = session_;
	const std::string text = command.dump() + '\0';
	if (write(to_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
		return {};
	for (json message; read_message(message, 60);) {
		if (message.value("id", 0) == number)
			return message.value("result", message);
		events_.push_back(std::move(message));
	}
	return {};
}

bool browser::open(const std::string &file, const look &as)
{
	events_.clear();
	address_ = "file://" + fs::absolute(file).string();
	call("Emulation.setDeviceMetricsOverride",
	     {{"width", as.width}, {"height", as.height}, {"deviceScaleFactor", 1}, {"mobile", false}});
	call("Emulation.setEmulatedMedia",
	     {{"media", as.paper ? "print" : ""},
	      {"features", json::array({{{"name", "prefers-color-scheme"}, {"value", as.dark ? "dark" : "light"}}})}});
	if (call("Page.navigate", {{"url", address_}}).contains("errorText"))
		return false;
	for (json message; read_message(message, 30);) {
		const std::string method = message.value("method", "");
		events_.push_back(std::move(message));
		if (method == "Page.loadEventFired")
			return true;
	}
	return false;
}

json browser::evaluate(const std::string &expression)
{
	const json said = call("Runtime.evaluate", {{"expression", expression}, {"returnByValue", true}});
	return said.contains("result") ? said["result"].value("value", json{}) : json{};
}

void browser::screenshot(const std::string &file, const std::string &selector)
{
	const std::string element = selector.empty() ? "document.documentElement"
						     : "document.querySelector(" + json(selector).dump() + ")";
	json clip = evaluate("(() => { const r = " + element +
			     ".getBoundingClientRect(); return {x: r.x + scrollX, y: r.y + scrollY, width: r.width, "
			     "height: r.height}; })()");
	if (!clip.is_object())
		return;
	clip["scale"] = 1;
	write_decoded(file, call("Page.captureScreenshot", {{"captureBeyondViewport", true}, {"clip", clip}}));
}

void browser::print(const std::string &file)
{
	write_decoded(file, call("Page.printToPDF", {{"printBackground", false}}));
}

std::vector<std::string> browser::errors() const
{
	std::vector<std::string> all;
	for (const json &event : events_) {
		const std::string method = event.value("method", "");
		const json what = event.value("params", json::object());
		if (method == "Runtime.exceptionThrown" ||
		    (method == "Log.entryAdded" && what["entry"].value("level", "") == "error") ||
		    (method == "Runtime.consoleAPICalled" && what.value("type", "") == "error"))
			all.push_back(what.dump());
	}
	return all;
}

std::vector<std::string> browser::fetched() const
{
	std::vector<std::string> all;
	for (const json &event : events_)
		if (event.value("method", "") == "Network.requestWillBeSent")
			if (const std::string url = event["params"]["request"].value("url", "");
			    url != address_ && !url.starts_with("data:"))
				all.push_back(url);
	return all;
}

} // namespace pm::test
