/*
 * An extension that writes WAL of its own: a custom resource manager (PostgreSQL 15 and later) whose records do nothing. Only the recorder compiles it,
 * where the headers of the server are installed.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xloginsert.h"
#include "fmgr.h"
#include "miscadmin.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

static void
nothing_redo(XLogReaderState *record)
{
}

static void
nothing_desc(StringInfo buf, XLogReaderState *record)
{
}

static const char *
nothing_identify(uint8 info)
{
	return NULL;
}

static RmgrData nothing = {
	.rm_name = "walkback recorder",
	.rm_redo = nothing_redo,
	.rm_desc = nothing_desc,
	.rm_identify = nothing_identify,
};

void
_PG_init(void)
{
	if (process_shared_preload_libraries_in_progress)
		RegisterCustomRmgr(RM_EXPERIMENTAL_ID, &nothing);
}

PG_FUNCTION_INFO_V1(write_custom_wal);

Datum
write_custom_wal(PG_FUNCTION_ARGS)
{
	char		byte = 'x';

	XLogBeginInsert();
	XLogRegisterData(&byte, sizeof(byte));
	XLogFlush(XLogInsert(RM_EXPERIMENTAL_ID, 0));
	PG_RETURN_VOID();
}
