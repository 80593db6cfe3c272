/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * text_trace.h - a tracepoint whose event is 64 bytes of text, for the modules
 * that measure one.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dlogbench

#if !defined(DLOGBENCH_TEXT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define DLOGBENCH_TEXT_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(dlogbench_text, TP_PROTO(const char *text), TP_ARGS(text),
	    TP_STRUCT__entry(__array(char, text, 64)),
	    TP_fast_assign(memcpy(__entry->text, text, 64);),
	    TP_printk("%.64s", __entry->text));

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE text_trace
#include <trace/define_trace.h>
