// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * print.c - which "print fmt" libtraceevent may read.
 *
 * A print fmt is what stands in the parentheses of a printk() in the kernel's
 * source: a format and C expressions.  This is a parser of just the part of C
 * that libtraceevent 1.7 (src/event-parse.c) gets through without one of its
 * error paths, which free twice or follow NULL.  Each restriction that is not
 * plain C names what it is for.
 */
#include <ctype.h>
#include <string.h>

#include "event_print.h"

#define PRINT_MAX 65536u
#define STRING_MAX 4000u /* libtraceevent's buffer for a token is 8192 */
#define ITEM_MAX 255u
#define DEPTH_MAX 48u /* of parentheses and unary operators */
#define OPERATORS_MAX 256u /* between two commas: each is a recursion */
#define CONVERSIONS_MAX 128u

enum token {
	T_END,
	T_BAD,
	T_ITEM, /* identifier or number */
	T_STRING,
	T_CHAR,
	T_OP, /* and { } [ ] ? : */
	T_OPEN,
	T_CLOSE,
	T_COMMA,
};

struct print {
	const struct event_class *c;
	const char *next; /* behind the token */
	enum token token;
	const char *text;
	size_t len;
	uint32_t depth, operators, tokens;
};

static bool is_item(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* A string: printable or line feeds; \\ is misread by libtraceevent. */
static const char *string_end(const char *p)
{
	const char *from = p++;

	for (; *p != '"'; p++) {
		if (*p == '\\') {
			p++;
			if (!*p || !strchr("ntr\"'", *p))
				return NULL;
		} else if (*p != '\n' && !isprint((unsigned char)*p)) {
			return NULL;
		}
		if (p - from > STRING_MAX)
			return NULL;
	}
	return p + 1;
}

/* Bytes of the operator at @p, as libtraceevent takes them together. */
static size_t operator_len(const char *p)
{
	if (*p == '-' && p[1] == '>')
		return 2;
	if (strchr("-+|&<>", *p) && p[1] == *p)
		return strchr("<>", *p) && p[2] == '=' ? 3 : 2;
	return strchr("-+|&<>!=", *p) && p[1] == '=' ? 2 : 1;
}

static void advance(struct print *p)
{
	const char *s = p->next + strspn(p->next, " \t\n"), *end = s + 1;

	p->text = s;
	p->tokens++;
	if (!*s) {
		p->token = T_END;
		end = s;
	} else if (is_item(*s)) {
		p->token = T_ITEM;
		while (is_item(*end))
			end++;
		if (end - s > (long)ITEM_MAX)
			p->token = T_BAD;
	} else if (*s == '"') {
		end = string_end(s);
		p->token = T_STRING;
		if (!end) {
			p->token = T_BAD;
			end = s;
		}
	} else if (*s == '\'') {
		p->token = isprint((unsigned char)s[1]) && s[1] != '\\' &&
					   s[1] != '\'' && s[1] != '"' &&
					   s[2] == '\''
				   ? T_CHAR
				   : T_BAD;
		end = p->token == T_CHAR ? s + 3 : s;
	} else if (*s == '(') {
		p->token = T_OPEN;
	} else if (*s == ')') {
		p->token = T_CLOSE;
	} else if (*s == ',') {
		p->token = T_COMMA;
	} else {
		p->token = isprint((unsigned char)*s) ? T_OP : T_BAD;
		end = s + operator_len(s);
	}
	p->len = (size_t)(end - s);
	p->next = end;
}

static bool is_text(const struct print *p, const char *text)
{
	return p->len == strlen(text) && !memcmp(p->text, text, p->len);
}

static bool is_op(const struct print *p, const char *op)
{
	return p->token == T_OP && is_text(p, op);
}

static bool eat(struct print *p, enum token token)
{
	if (p->token != token)
		return false;
	advance(p);
	return true;
}

static bool eat_op(struct print *p, const char *op)
{
	if (!is_op(p, op))
		return false;
	advance(p);
	return true;
}

static bool is_one_of(const struct print *p, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_text(p, list[i]))
			return true;
	return false;
}

#define IS_ONE_OF(p, list) is_one_of(p, list, sizeof(list) / sizeof(*(list)))

/* Number of the field that the token names, or -1. */
static int field_token(const struct print *p)
{
	if (p->token != T_ITEM)
		return -1;
	for (uint32_t i = 0; i < p->c->type.nr_fields; i++)
		if (is_text(p, p->c->field[i].name))
			return (int)i;
	return -1;
}

static bool expression(struct print *p);
static bool operand(struct print *p);

/* "REC->field", behind REC. */
static bool field_of_record(struct print *p)
{
	if (!eat_op(p, "->") || field_token(p) < 0)
		return false;
	advance(p);
	return true;
}

/* "(field)" whose data lies elsewhere in the record. */
static bool dynamic_field(struct print *p, bool relative)
{
	int i = field_token(p);

	if (i < 0 || p->c->field[i].common ||
	    p->c->place[i].where == EVENT_HERE ||
	    (p->c->place[i].where == EVENT_REL_LOC && !relative))
		return false;
	advance(p);
	return eat(p, T_CLOSE);
}

static bool cast(struct print *p);

/* A value that is known now: "(1 << 3) | 0x400u", "(gfp_t)0x20u", "-1". */
static bool constant(struct print *p);

static bool constant_operand(struct print *p)
{
	bool ok;

	if (++p->depth > DEPTH_MAX)
		return false;
	if (is_op(p, "-") || is_op(p, "~")) {
		advance(p);
		ok = constant_operand(p);
	} else if (!eat(p, T_OPEN)) {
		ok = eat(p, T_ITEM) && p->token != T_ITEM && p->token != T_OPEN;
	} else if (cast(p)) {
		ok = constant_operand(p);
	} else {
		ok = constant(p) && eat(p, T_CLOSE) && p->token != T_ITEM &&
		     p->token != T_OPEN;
	}
	p->depth--;
	return ok;
}

static bool constant(struct print *p)
{
	static const char *const ops[] = { "|", "&", "<<", ">>", "+", "-" };

	if (!constant_operand(p))
		return false;
	while (p->token == T_OP && IS_ONE_OF(p, ops)) {
		advance(p);
		if (++p->operators > OPERATORS_MAX || !constant_operand(p))
			return false;
	}
	return true;
}

/* A string; lists of the kernel end with 0 or "((void *)0)" at times. */
static bool choice_text(struct print *p)
{
	if (p->token == T_OP)
		return false;
	return eat(p, T_STRING) || constant_operand(p);
}

/* "{ value, "text" }, ...", up to the closing parenthesis. */
static bool choices(struct print *p)
{
	do {
		p->operators = 0;
		if (!eat_op(p, "{") || !constant(p) || !eat(p, T_COMMA) ||
		    !choice_text(p) || !eat_op(p, "}"))
			return false;
	} while (eat(p, T_COMMA));
	return eat(p, T_CLOSE);
}

static bool flags(struct print *p)
{
	return expression(p) && eat(p, T_COMMA) && eat(p, T_STRING) &&
	       eat(p, T_COMMA) && choices(p);
}

static bool symbolic(struct print *p)
{
	return expression(p) && eat(p, T_COMMA) && choices(p);
}

static bool hex(struct print *p)
{
	return expression(p) && eat(p, T_COMMA) && expression(p) &&
	       eat(p, T_CLOSE);
}

static bool array(struct print *p)
{
	return expression(p) && eat(p, T_COMMA) && hex(p);
}

static bool dynamic(struct print *p)
{
	/* libtraceevent takes an index here for an error. */
	return dynamic_field(p, true) && !is_op(p, "[");
}

/* It would follow NULL for the length of what is relative. */
static bool dynamic_len(struct print *p)
{
	return dynamic_field(p, false);
}

static bool expect(struct print *p)
{
	return operand(p) && eat(p, T_COMMA) && eat(p, T_ITEM) &&
	       eat(p, T_CLOSE);
}

/* Of other types libtraceevent frees a token twice. */
static bool size_of(struct print *p)
{
	if (is_text(p, "unsigned"))
		advance(p);
	if (!is_text(p, "long"))
		return false;
	advance(p);
	return eat(p, T_CLOSE);
}

/* Functions of libtraceevent's plugins: values, or an array and its length. */
static bool call_1(struct print *p)
{
	return operand(p) && eat(p, T_CLOSE);
}

static bool call_cdb(struct print *p)
{
	if (!eat(p, T_ITEM) || !eat(p, T_COMMA) ||
	    !is_text(p, "__get_dynamic_array"))
		return false;
	advance(p);
	return eat(p, T_OPEN) && dynamic_field(p, false) && eat(p, T_COMMA) &&
	       operand(p) && eat(p, T_CLOSE);
}

static bool function(struct print *p)
{
	static const struct {
		const char *name;
		bool (*rest)(struct print *p);
	} table[] = {
		{ "__print_flags", flags },
		{ "__print_symbolic", symbolic },
		{ "__print_hex", hex },
		{ "__print_hex_str", hex },
		{ "__print_array", array },
		{ "__get_str", dynamic },
		{ "__get_rel_str", dynamic },
		{ "__get_bitmask", dynamic },
		{ "__get_rel_bitmask", dynamic },
		{ "__get_cpumask", dynamic },
		{ "__get_rel_cpumask", dynamic },
		{ "__get_dynamic_array", dynamic },
		{ "__get_rel_dynamic_array", dynamic },
		{ "__get_sockaddr", dynamic },
		{ "__get_sockaddr_rel", dynamic },
		{ "__get_dynamic_array_len", dynamic_len },
		{ "__builtin_expect", expect },
		{ "sizeof", size_of },
		{ "jbd2_dev_to_name", call_1 },
		{ "jiffies_to_msecs", call_1 },
		{ "xen_hypercall_name", call_1 },
		{ "is_writable_pte", call_1 },
		{ "scsi_trace_parse_cdb", call_cdb },
	};
	uint32_t operators = p->operators;
	bool ok;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (!is_text(p, table[i].name))
			continue;
		advance(p);
		p->operators = 0;
		ok = eat(p, T_OPEN) && table[i].rest(p);
		p->operators = operators;
		return ok;
	}
	return false;
}

/* Is what follows '(' a type and ')', and what follows that its operand? */
static bool cast(struct print *p)
{
	struct print look = *p;
	uint32_t words = 0;

	while (look.token == T_ITEM && !is_text(&look, "REC")) {
		words++;
		advance(&look);
	}
	if (words)
		eat_op(&look, "*");
	if (!words || !eat(&look, T_CLOSE))
		return false;
	/* Else one word in parentheses is a value. */
	if (look.token != T_ITEM && look.token != T_OPEN)
		return false;
	*p = look;
	return true;
}

/* "(REC)", or a type that no operand follows: "(unsigned long)-1". */
static bool bare(struct print *p, bool *record)
{
	struct print look = *p;
	uint32_t words = 0;

	*record = is_text(p, "REC");
	for (; look.token == T_ITEM; words++)
		advance(&look);
	if (words > 1 && !*record)
		eat_op(&look, "*");
	if (!words || (*record && words > 1) || !eat(&look, T_CLOSE) ||
	    (words == 1 && !*record) || look.token != T_OP)
		return false;
	*p = look;
	return true;
}

static bool parenthesis(struct print *p)
{
	bool record;

	if (cast(p))
		return operand(p);
	if (bare(p, &record))
		return !record || field_of_record(p);
	if (!expression(p) || !eat(p, T_CLOSE))
		return false;
	/* libtraceevent would take it for a cast. */
	return p->token != T_ITEM && p->token != T_OPEN &&
	       p->token != T_STRING && p->token != T_CHAR;
}

static bool item(struct print *p)
{
	static const char *const special[] = { "LOCAL_PR_FMT", "STA_PR_FMT",
					       "VIF_PR_FMT" };
	struct print next = *p;

	if (IS_ONE_OF(p, special))
		return false;
	if (is_text(p, "REC")) {
		advance(p);
		return field_of_record(p);
	}
	advance(&next);
	if (next.token == T_OPEN)
		return function(p);
	*p = next;
	return p->token != T_ITEM;
}

static bool operand(struct print *p)
{
	static const char *const unary[] = { "!", "~", "-", "+" };
	bool ok;

	if (++p->depth > DEPTH_MAX)
		return false;
	switch (p->token) {
	case T_OP:
		ok = IS_ONE_OF(p, unary);
		advance(p);
		ok = ok && operand(p);
		break;
	case T_OPEN:
		advance(p);
		ok = parenthesis(p);
		break;
	case T_STRING:
	case T_CHAR:
		advance(p);
		ok = true;
		break;
	case T_ITEM:
		ok = item(p);
		break;
	default:
		ok = false;
	}
	p->depth--;
	return ok;
}

/*
 * Behind '/' or '%'.  Constants are computed while parsing, wrongly grouped:
 * of "a / 5 * 0" 5 * 0 first.  What the value is in a record is seen to later.
 */
static bool divisor(struct print *p)
{
	static const char *const after[] = { "*", "/", "%", "[" };

	if (p->token == T_ITEM && isdigit((unsigned char)*p->text)) {
		if (strspn(p->text, "0xXuUlL") >= p->len)
			return false;
		advance(p);
	} else if (!is_text(p, "REC") || !operand(p)) {
		return false;
	}
	return p->token != T_OP || !IS_ONE_OF(p, after);
}

/* "[index]": one operand; a second index is one too many. */
static bool subscript(struct print *p)
{
	if (p->token == T_OP || !operand(p) || !eat_op(p, "]"))
		return false;
	return !is_op(p, "[");
}

/* "? a : b"; an index of b would be taken for one of nothing. */
static bool condition(struct print *p)
{
	return expression(p) && eat_op(p, ":") && operand(p) && !is_op(p, "[");
}

static bool expression(struct print *p)
{
	static const char *const binary[] = {
		">>", "<<", "&", "|", "&&", "||", "-",	"+",
		"*",  "^",  "<", ">", "<=", ">=", "==", "!=",
	};

	if (!operand(p))
		return false;
	while (p->token == T_OP) {
		bool ok;

		if (++p->operators > OPERATORS_MAX)
			return false;
		if (IS_ONE_OF(p, binary)) {
			advance(p);
			ok = operand(p);
		} else if (is_op(p, "/") || is_op(p, "%")) {
			advance(p);
			ok = divisor(p);
		} else if (eat_op(p, "?")) {
			ok = condition(p);
		} else if (eat_op(p, "[")) {
			ok = subscript(p);
		} else {
			return true; /* ':' or '}': whoever asked knows */
		}
		if (!ok)
			return false;
	}
	return true;
}

int event_conversion_next(const char **format, struct event_conversion *c)
{
	const char *p = *format;
	uint32_t shorts = 0, digits = 0, stars = 0;

	memset(c, 0, sizeof(*c));
	while (*p && (*p != '%' || p[1] == '%')) {
		/* A backslash takes the next character with it. */
		p += *p == '\\' || *p == '%';
		p += *p != 0;
	}
	if (!*p)
		return 0;
	c->text = p++;
	for (; *p && strchr("#hlLzZ.-*0123456789", *p); p++) {
		digits = isdigit((unsigned char)*p) ? digits + 1 : 0;
		shorts += *p == 'h';
		c->longs += strchr("lLzZ", *p) ? 1 : 0;
		stars += *p == '*';
		if (digits > 3)
			return -1;
	}
	if (!*p || p - c->text > 20 || shorts > 2 || c->longs > 2 ||
	    (shorts && c->longs) || stars > 1)
		return -1;
	c->star = stars;
	if (strchr("duixXosp", *p))
		c->letter = *p;
	c->more = ++p;
	c->len = (uint32_t)(p - c->text);
	/* A string of wide characters would be read out of the record. */
	if (c->letter == 's' &&
	    (c->longs || shorts || memchr(c->text, '#', c->len)))
		return -1;
	*format = p;
	return 1;
}

/* Are the conversions of a format fit for printf()? */
static bool conversions_ok(const char *from, const char *end)
{
	char text[STRING_MAX + 1];
	struct event_conversion c;
	const char *p = text;
	size_t n = (size_t)(end - from);
	uint32_t nr = 0;
	int ret;

	if (n > STRING_MAX)
		return false;
	memcpy(text, from, n);
	text[n] = 0;
	while ((ret = event_conversion_next(&p, &c)) > 0)
		if (++nr > CONVERSIONS_MAX)
			return false;
	return !ret;
}

/* The format, which may consist of several strings. */
static bool format(struct print *p)
{
	const char *from = p->text, *end = from;
	size_t all = 0;

	while (p->token == T_STRING) {
		/* A conversion does not go over from one to the next. */
		if (!conversions_ok(p->text + 1, p->text + p->len - 1))
			return false;
		end = p->text + p->len;
		all += p->len;
		if (all > STRING_MAX)
			return false;
		advance(p);
	}
	return end > from;
}

bool event_print_read(const struct event_class *c, const char *text,
		      struct sink *out, uint32_t *tokens)
{
	struct print p = { .c = c, .next = text };
	bool string = false;

	if (strnlen(text, PRINT_MAX) == PRINT_MAX)
		return false;
	advance(&p);
	if (!format(&p))
		return false;
	while (eat(&p, T_COMMA)) {
		p.operators = 0;
		if (!expression(&p))
			return false;
	}
	if (p.token != T_END)
		return false;
	*tokens = p.tokens;
	sink_puts(out, "print fmt: ");
	for (; *text; text++) {
		string ^= *text == '"' && text[-1] != '\\';
		/* Outside of strings it would end what is read. */
		sink_putc(out, *text == '\n' && !string ? ' ' : *text);
	}
	sink_putc(out, '\n');
	return !out->error;
}
