package redisrevocation

import "github.com/redis/go-redis/v9"

// A script is one step in Redis. No client sees half of it, and its changes go to
// the append-only file and to the replicas as one MULTI/EXEC. Redis undoes nothing
// when a script fails midway. So each one begins with prelude. It fails before the
// first write if the user lacks a right, or if a key has another type.
//
// Keys: entries is a hash with the state of each entry, expiry a sorted set of
// the same entries by when they expire, log a stream of the changes, and meta a
// hash with
//
//	epoch  a random name for the data; another one after keys were lost
//	seq    the number of the last change
//	last   the id of the last line of the log: the number and a random mark, so
//	       that two changes with one number, before and after a loss, differ
//	count  how many entries there are, so that a key that went is noticed
//
// A state is Until and Expires, 20 digits each, and the identity. The times are
// compared as text, because a number in Lua has only 53 bits. A removal is
// remembered for a day as an entry whose key is "removed:" and the mark.
//
// The first arguments of every script are a name for a new epoch, where the caller
// is, epoch and last, and '1' for a caller that must not write. Redis may have lost
// what the caller has: it was emptied, an old copy was restored, or a replica took
// over that did not have everything. Then the caller's last line is not in the log.
const prelude = `
local entries, expiry, log, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local fresh, known, klast, readonly = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'

-- Redis checks the right to a command before its arguments. So each call tells
-- whether there is the right, and none has an effect. A replica, which may lag
-- behind, refuses a write even without effect.
local missing = ''
local function probe(command, ...)
	local r = redis.pcall(command, ...)
	local err = type(r) == 'table' and r.err or ''
	if string.find(err, 'NOPERM', 1, true) or string.find(err, "can't run this command", 1, true) then
		missing = missing .. ' +' .. string.lower(command)
	end
	return string.find(err, 'READONLY', 1, true)
end
probe('HMGET', meta, '-')
probe('HLEN', entries)
probe('ZCARD', expiry)
probe('HSCAN', entries, 0, 'COUNT', 1)
probe('XLEN', log)
probe('XRANGE', log, '-', '+', 'COUNT', 1)
local replica = false
if not readonly then
	replica = probe('HDEL', meta, '-')
	probe('HSET', meta, 'no', 'value', 'for this')
	probe('HGET', entries, '-')
	probe('ZADD', expiry, 'XX', 0, '-')
	probe('ZREM', expiry, '-')
	probe('ZRANGEBYSCORE', expiry, 1, 0)
	probe('XADD', log, 'no-id', 'field', 'value')
	probe('TIME')
	if redis.acl_check_cmd and not redis.acl_check_cmd('DEL', log) then missing = missing .. ' +del' end
end
if missing ~= '' then return redis.error_reply('NOPERM the user lacks rights:' .. missing) end
if replica then return redis.error_reply('READONLY this is a replica') end

local m = redis.call('HMGET', meta, 'epoch', 'seq', 'last', 'count')
local have, listed, lines = redis.call('HLEN', entries), redis.call('ZCARD', expiry), redis.call('XLEN', log)
local epoch, seq, last, count = m[1], tonumber(m[2] or '0'), m[3] or '0-0', tonumber(m[4] or '0')

-- Begins a new epoch. DEL comes first, because Redis before 7 cannot tell earlier
-- whether there is the right to it.
local function renew(key)
	if readonly then
		epoch = (epoch or '') .. '?' -- until a caller that writes has begun one
		return
	end
	if key then redis.call('DEL', key) end
	epoch, count = fresh, have
	redis.call('HSET', meta, 'epoch', epoch, 'seq', string.format('%.0f', seq), 'last', last, 'count', count)
end

local function score(expires)
	if expires == '09223372036854775807' or not tonumber(expires) then return '+inf' end
	return expires
end

if not epoch or not seq or not count or string.match(last, '^(%d+)%-%d+$') ~= string.format('%.0f', seq) then
	seq, last = 0, '0-0'
	renew(log)
elseif lines > 0 then
	local newest = redis.call('XRANGE', log, last, '+', 'COUNT', 2)
	if #newest ~= 1 or newest[1][1] ~= last then renew(log) end -- the log or meta alone was restored
end
if have ~= count or have ~= listed then -- a key was evicted or deleted
	renew(expiry)
	local cursor = readonly and '0' or nil
	while cursor ~= '0' do
		local page = redis.call('HSCAN', entries, cursor or '0', 'COUNT', 1000)
		cursor = page[1]
		for i = 1, #page[2], 2 do
			redis.call('ZADD', expiry, score(string.sub(page[2][i + 1], 21, 40)), page[2][i])
		end
	end
end

-- Whether the log continues from the caller's last line.
local function continues()
	if known ~= epoch then return false end
	if klast == last then return true end
	if klast ~= '0-0' then return #redis.call('XRANGE', log, klast, klast) > 0 end
	local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
	return first ~= nil and first[2][1] == 'prev' and first[2][2] == '0-0'
end

-- Returns the answer of a script: epoch, last, whether the log continues from the
-- caller's last line, and at most that many lines after it.
local function answer(most)
	if not continues() then return {epoch, last, '0', {}} end
	if klast == last then return {epoch, last, '1', {}} end
	return {epoch, last, '1', redis.call('XRANGE', log, '(' .. klast, '+', 'COUNT', most)}
end

-- Makes one change and adds its line to an answer. A removal is remembered under the
-- key removal, which is an empty text for an entry.
local function change(reply, key, til, expires, identity, removal, mark, length)
	local old = redis.call('HGET', entries, key)
	if old and removal == '' then
		if string.sub(old, 1, 20) > til then til = string.sub(old, 1, 20) end
		if string.sub(old, 21, 40) > expires then expires = string.sub(old, 21, 40) end
	end
	local state, number = til .. expires .. identity, string.format('%.0f', seq + 1)
	local id = number .. '-' .. mark
	local line = {'prev', last, 'key', key, 'state', state, 'removed', removal == '' and '0' or '1'}
	local added = redis.pcall('XADD', log, 'MAXLEN', '~', length, id, unpack(line))
	if type(added) == 'table' and added.err then
		-- A line with a larger number was written by hand, and deleted again.
		if string.find(added.err, 'equal or smaller', 1, true) then redis.call('DEL', log) end
		redis.call('XADD', log, id, unpack(line)) -- fails again for another reason
	end
	if removal ~= '' then
		redis.call('HDEL', entries, key)
		redis.call('ZREM', expiry, key)
		key = removal
	end
	redis.call('HSET', entries, key, state)
	redis.call('ZADD', expiry, score(expires), key)
	redis.call('HSET', meta, 'seq', number, 'last', id, 'count', redis.call('HLEN', entries))
	seq, last = seq + 1, id
	reply[2], reply[4][#reply[4] + 1] = id, {id, line}
end

-- Deletes entries that have expired by Redis's clock and by the caller's. A clock
-- that jumps ahead alone deletes nothing. Copies do that themselves.
local function purge(now, keptLonger, most)
	local due = math.min(redis.call('TIME')[1], now) - keptLonger
	local old = redis.call('ZRANGEBYSCORE', expiry, '-inf', '(' .. string.format('%.0f', due), 'LIMIT', 0, most)
	if #old > 0 then
		redis.call('HDEL', entries, unpack(old))
		redis.call('ZREM', expiry, unpack(old))
		redis.call('HSET', meta, 'count', redis.call('HLEN', entries))
	end
	return #old
end
`

var (
	// linesScript returns an answer. Further argument: the most lines of it.
	linesScript = redis.NewScript(prelude + `
return answer(ARGV[5])
`)

	// writeScript makes one change and returns an answer, whose last line is that of
	// the change. It makes none if the log does not continue from the caller's last
	// line, or if the answer has too many lines. Further arguments: the most lines;
	// the entry's key, until, expires and identity; the key under which a removal is
	// remembered, or an empty text; the change's mark; how long the log is; the
	// caller's clock; how long an entry is kept.
	writeScript = redis.NewScript(prelude + `
local reply = answer(ARGV[5])
if reply[3] == '0' or #reply[4] >= tonumber(ARGV[5]) then return reply end
change(reply, ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12])
purge(ARGV[13], ARGV[14], 16)
return reply
`)

	// healScript makes changes of entries and returns an answer with their lines, as
	// writeScript does. It leaves out an entry if the answer has a line for it: it was
	// removed, or another instance has been faster. Further arguments: the most lines;
	// how long the log is; key, until, expires, identity and mark of each entry.
	healScript = redis.NewScript(prelude + `
local reply = answer(ARGV[5])
if reply[3] == '0' or #reply[4] >= tonumber(ARGV[5]) then return reply end
local changed = {}
for _, line in ipairs(reply[4]) do changed[line[2][4]] = line[2][3] == 'key' end
for i = 7, #ARGV, 5 do
	if not changed[ARGV[i]] then
		change(reply, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], '', ARGV[i + 4], ARGV[6])
	end
end
return reply
`)

	// purgeScript deletes a bounded number of expired entries. Further arguments:
	// the caller's clock, and how long an entry is kept.
	purgeScript = redis.NewScript(prelude + `
return purge(ARGV[5], ARGV[6], 500)
`)
)
