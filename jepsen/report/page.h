/* jepsen/report/page.h - the styles and the script of the pages, as text.
 *
 * Needs:    nothing.
 * Used by:  jepsen/report/report.c, index.c.
 */
#ifndef KV_JEPSEN_REPORT_PAGE_H
#define KV_JEPSEN_REPORT_PAGE_H

/* For both pages. */
extern const char page_style[];

/* For report.html: shows the operation under the pointer. */
extern const char page_script[];

#endif
