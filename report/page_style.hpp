// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The style sheet of a report, and its colours but for the backends'. Light, dark and paper; from 320 pixels.
#pragma once

#include <string_view>

namespace pm::report {

struct page_colour {
	std::string_view name, light, dark;
};
inline constexpr page_colour page_colours[] = {
	{"paper", "#fff", "#14171a"}, {"ink", "#1b1e21", "#e4e6e8"},   {"soft", "#5a6169", "#a6adb4"},
	{"grid", "#d9dde1", "#353b41"}, {"panel", "#f3f5f7", "#1d2226"},
};

inline constexpr const char *page_style = R"css(
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
main{max-width:60rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .25rem}
h2{font-size:1.3rem;line-height:1.3;margin:3rem 0 .5rem;padding-top:1rem;border-top:1px solid var(--grid)}
p{margin:.6rem 0;max-width:46rem}
a{color:var(--netlink)}
.sub{color:var(--soft);margin:0 0 1.5rem;overflow-wrap:anywhere}
.answer{border-left:4px solid var(--netlink);background:var(--panel);padding:.6rem 1.1rem;margin:1.2rem 0}
.answer p{max-width:none;font-size:1.06rem;margin:.55rem 0}
.warning{border-left:4px solid var(--mptcpd-stock);background:var(--panel);padding:.5rem 1.1rem;margin:.8rem 0;overflow-wrap:anywhere}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;list-style:none;margin:1rem 0;padding:0}
figure{margin:1.4rem 0;break-inside:avoid}
figcaption{font-weight:600;margin-bottom:.3rem}
figure svg.wide,figure svg.narrow{display:block;width:100%;height:auto}
figure svg.narrow{display:none}
.legend{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;list-style:none;margin:.2rem 0 .5rem;padding:0;font-size:.9rem}
.legend li{display:flex;align-items:center;gap:.4rem}
.left-out{border:1px dashed var(--grid);padding:.8rem 1rem;color:var(--soft)}
.scroll{overflow-x:auto;margin:.6rem 0 1.2rem}
table{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums;width:100%}
caption,summary{text-align:left;font-weight:600;font-size:.9rem;padding:.3rem 0}
summary{cursor:pointer}
th,td{padding:.28rem .7rem .28rem 0;text-align:right;vertical-align:top;border-bottom:1px solid var(--grid)}
td{white-space:nowrap}
th{font-weight:600;vertical-align:bottom;color:var(--soft)}
.left{text-align:left}
td.words{white-space:normal;min-width:14rem}
td.worse{color:var(--mptcpd-stock);font-weight:600}
td.better{color:var(--bpf);font-weight:600}
pre{background:var(--panel);padding:.7rem .9rem;overflow-x:auto;font:.82rem/1.5 ui-monospace,"DejaVu Sans Mono",monospace;margin:.5rem 0;white-space:pre-wrap;overflow-wrap:anywhere}
.by{color:var(--soft);font-size:.86rem;margin:.8rem 0 0}
@media (max-width:640px){
 body{font-size:15px}
 main{padding:1.2rem 1rem 3rem}
 h1{font-size:1.5rem}
 figure svg.wide{display:none}
 figure svg.narrow{display:block}
}
@media print{
 @page{margin:15mm}
 body{font-size:10pt}
 main{max-width:none;padding:0}
 nav{display:none}
 h2{break-after:avoid;margin-top:1.5rem}
 figure svg.wide{display:block}
 figure svg.narrow{display:none}
 .scroll{overflow:visible}
 table{font-size:7.5pt}
 td{white-space:normal}
 tr{break-inside:avoid}
 pre{white-space:pre-wrap}
 .answer,.warning,pre{background:none}
}
)css";

} // namespace pm::report
