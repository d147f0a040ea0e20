-- What the client named when it asked for the grant: token answers name no more than that. NULL: it named nothing, or the
-- grant was made by a program that does not know this column.
ALTER TABLE grants ADD COLUMN named_scope TEXT;
