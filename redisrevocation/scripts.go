package redisrevocation

import "github.com/redis/go-redis/v9"

// A script is one step in Redis. No client sees half of it, and its changes go to
// the append-only file and to the replicas as one MULTI/EXEC. Redis undoes nothing
// when a script fails midway. So each one begins with prelude, which reads every
// key, and fails before the first write if one holds what it should not.
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
// The first arguments of every script are a name for a new epoch, and where the
// caller is: epoch and last. Redis may have lost what the caller has: it was emptied,
// an old copy was restored, or a replica took over that did not have everything.
// Then the caller's last line is not in the log.
const prelude = `
local entries, expiry, log, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local fresh, known, klast = ARGV[1], ARGV[2], ARGV[3]

-- A replica may lag behind. It refuses a write, even one without effect.
local probe = redis.pcall('HDEL', meta, '-')
if type(probe) == 'table' and probe.err and string.find(probe.err, 'READONLY', 1, true) then
	return redis.error_reply('READONLY this is a replica')
end

local m = redis.call('HMGET', meta, 'epoch', 'seq', 'last', 'count')
local have, listed = redis.call('HLEN', entries), redis.call('ZCARD', expiry)
local epoch, seq, last, count = m[1], tonumber(m[2] or '0'), m[3] or '0-0', tonumber(m[4] or '0')

local function renew()
	epoch, count = fresh, have
	redis.call('HSET', meta, 'epoch', epoch, 'seq', string.format('%.0f', seq), 'last', last, 'count', count)
end

local function score(expires)
	if expires == '09223372036854775807' then return '+inf' end
	return expires
end

if not epoch then
	seq, last = 0, '0-0'
	renew()
	redis.call('DEL', log)
elseif redis.call('XLEN', log) > 0 then
	local newest = redis.call('XRANGE', log, last, '+', 'COUNT', 2)
	if #newest ~= 1 or newest[1][1] ~= last then -- the log or meta alone was restored
		renew()
		redis.call('DEL', log)
	end
end
if have ~= count or have ~= listed then -- a key was evicted or deleted
	renew()
	redis.call('DEL', expiry)
	local cursor = '0'
	repeat
		local page = redis.call('HSCAN', entries, cursor, 'COUNT', 1000)
		cursor = page[1]
		for i = 1, #page[2], 2 do
			redis.call('ZADD', expiry, score(string.sub(page[2][i + 1], 21, 40)), page[2][i])
		end
	until cursor == '0'
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
return answer(ARGV[4])
`)

	// writeScript makes one change and returns an answer, whose last line is that of
	// the change. It makes none if the log does not continue from the caller's last
	// line, or if the answer has too many lines. Further arguments: the most lines;
	// the entry's key, until, expires and identity; the key under which a removal is
	// remembered, or an empty text; the change's mark; how long the log is; the
	// caller's clock; how long an entry is kept.
	writeScript = redis.NewScript(prelude + `
local reply = answer(ARGV[4])
if reply[3] == '0' or #reply[4] >= tonumber(ARGV[4]) then return reply end
local key, til, expires, identity, removal = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local old = redis.call('HGET', entries, key)
if old and removal == '' then
	if string.sub(old, 1, 20) > til then til = string.sub(old, 1, 20) end
	if string.sub(old, 21, 40) > expires then expires = string.sub(old, 21, 40) end
end
local state = til .. expires .. identity
local number = string.format('%.0f', seq + 1)
local id = number .. '-' .. ARGV[10]
local removed = removal == '' and '0' or '1'
local line = {'prev', last, 'key', key, 'state', state, 'removed', removed}
redis.call('XADD', log, 'MAXLEN', '~', ARGV[11], id, unpack(line))
if removal ~= '' then
	redis.call('HDEL', entries, key)
	redis.call('ZREM', expiry, key)
	key = removal
end
redis.call('HSET', entries, key, state)
redis.call('ZADD', expiry, score(expires), key)
redis.call('HSET', meta, 'seq', number, 'last', id, 'count', redis.call('HLEN', entries))
purge(ARGV[12], ARGV[13], 16)
reply[2], reply[4][#reply[4] + 1] = id, {id, line}
return reply
`)

	// purgeScript deletes a bounded number of expired entries. Further arguments:
	// the caller's clock, and how long an entry is kept.
	purgeScript = redis.NewScript(prelude + `
return purge(ARGV[4], ARGV[5], 500)
`)

	// pageScript returns score and key of the page's last entry (two empty texts:
	// there are no more), and then keys and states in turns. Further
	// arguments: score and key of the last entry of the page before, or two
	// empty texts, and how many entries to return. It does not use HSCAN, whose
	// cursor means something else after a restart or on another server: entries
	// would be skipped silently. The order of expiry is the same everywhere, and
	// an entry that moves in it moves to its end, or is a change with a later
	// number.
	pageScript = redis.NewScript(prelude + `
local from = 0
if ARGV[5] ~= '' then
	local at = redis.call('ZSCORE', expiry, ARGV[5])
	if at and (at == ARGV[4] or tonumber(at) == tonumber(ARGV[4])) then
		from = redis.call('ZRANK', expiry, ARGV[5]) + 1
	else -- it has moved or gone: put it back for a moment
		redis.call('ZADD', expiry, ARGV[4], ARGV[5])
		from = redis.call('ZRANK', expiry, ARGV[5]) -- where the one after it will be
		if at then
			redis.call('ZADD', expiry, at, ARGV[5])
		else
			redis.call('ZREM', expiry, ARGV[5])
		end
	end
end
local keys = redis.call('ZRANGE', expiry, from, from + ARGV[6] - 1)
local reply = {'', ''}
if #keys > 0 then
	local states = redis.call('HMGET', entries, unpack(keys))
	for i, key in ipairs(keys) do
		if states[i] then
			reply[#reply + 1] = key
			reply[#reply + 1] = states[i]
		end
	end
	reply[1], reply[2] = redis.call('ZSCORE', expiry, keys[#keys]), keys[#keys]
end
return reply
`)
)
