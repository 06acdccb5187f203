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
//	epoch  a random name for the data; another one after changes were lost
//	seq    the number of the last change
//	last   the id of the last line of the log: the number and a random mark, so
//	       that two changes with one number, before and after a loss, differ
//	count  how many entries there are, so that a key that went is noticed
//
// A state is Until and Expires, 20 digits each, and the identity. The times are
// compared as text, because a number in Lua has only 53 bits.
//
// The first arguments of every script are a name for a new epoch, and what the
// caller has: epoch, seq, and last or an empty text. Redis may have lost what the
// caller has: it was emptied, an old copy was restored, or a replica took over that
// did not have everything. Then the data gets a new epoch. So all other followers
// notice, even if the numbers have grown beyond theirs meanwhile.
const prelude = `
local entries, expiry, log, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local fresh, known, kseq, klast = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

-- A replica may lag behind. It refuses a write, even one without effect.
local probe = redis.pcall('HDEL', meta, '-')
if type(probe) == 'table' and probe.err and string.find(probe.err, 'READONLY', 1, true) then
	return redis.error_reply('READONLY this is a replica')
end

local function number(id) return tonumber(string.match(id, '^%d+')) end

local m = redis.call('HMGET', meta, 'epoch', 'seq', 'last', 'count')
local have, listed, logged = redis.call('HLEN', entries), redis.call('ZCARD', expiry), redis.call('XLEN', log)
local epoch, seq, last, count = m[1], tonumber(m[2] or '0'), m[3] or '0-0', tonumber(m[4] or '0')

local function gone() -- whether the caller has changes that are not here
	if seq < kseq then return true end
	if klast == '' or kseq == 0 or last == klast then return false end
	if seq == kseq then return true end
	local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
	return first ~= nil and number(first[1]) <= kseq and #redis.call('XRANGE', log, klast, klast) == 0
end

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
elseif known == epoch and gone() then
	renew()
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

-- Deletes entries that have expired by every clock. Copies do that themselves.
local function purge(keptLonger, most)
	local due = redis.call('TIME')[1] - keptLonger
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
	// stateScript returns epoch, seq and last.
	stateScript = redis.NewScript(prelude + `
return {epoch, string.format('%.0f', seq), last}
`)

	// writeScript makes one change. Further arguments: the entry's key, until,
	// expires and identity; "1" for a removal; a random mark; how long the log
	// and how long an entry is kept. It returns epoch, seq and the entry's state.
	writeScript = redis.NewScript(prelude + `
local key, til, expires, identity, removed = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local old = redis.call('HGET', entries, key)
if old and removed == '0' then
	if string.sub(old, 1, 20) > til then til = string.sub(old, 1, 20) end
	if string.sub(old, 21, 40) > expires then expires = string.sub(old, 21, 40) end
end
local state = til .. expires .. identity
seq = seq + 1
local number = string.format('%.0f', seq)
local id = number .. '-' .. ARGV[10]
redis.call('XADD', log, 'MAXLEN', '~', ARGV[11], id, 'prev', last, 'key', key, 'state', state, 'removed', removed)
if removed == '1' then
	redis.call('HDEL', entries, key)
	redis.call('ZREM', expiry, key)
else
	redis.call('HSET', entries, key, state)
	redis.call('ZADD', expiry, score(expires), key)
end
redis.call('HSET', meta, 'seq', number, 'last', id, 'count', redis.call('HLEN', entries))
purge(ARGV[12], 16)
return {epoch, number, state}
`)

	// purgeScript deletes a bounded number of expired entries.
	purgeScript = redis.NewScript(prelude + `
return purge(ARGV[5], 500)
`)

	// pageScript returns epoch, score and key of the page's last entry (two empty
	// texts: there are no more), and then keys and states in turns. Further
	// arguments: score and key of the last entry of the page before, or two
	// empty texts, and how many entries to return. It does not use HSCAN, whose
	// cursor means something else after a restart or on another server: entries
	// would be skipped silently. The order of expiry is the same everywhere, and
	// an entry that moves in it moves to its end, or is a change with a later
	// number.
	pageScript = redis.NewScript(prelude + `
local from = 0
if ARGV[6] ~= '' then
	local at = redis.call('ZSCORE', expiry, ARGV[6])
	if at and (at == ARGV[5] or tonumber(at) == tonumber(ARGV[5])) then
		from = redis.call('ZRANK', expiry, ARGV[6]) + 1
	else -- it has moved or gone: put it back for a moment
		redis.call('ZADD', expiry, ARGV[5], ARGV[6])
		from = redis.call('ZRANK', expiry, ARGV[6]) -- where the one after it will be
		if at then
			redis.call('ZADD', expiry, at, ARGV[6])
		else
			redis.call('ZREM', expiry, ARGV[6])
		end
	end
end
local keys = redis.call('ZRANGE', expiry, from, from + ARGV[7] - 1)
local reply = {epoch, '', ''}
if #keys > 0 then
	local states = redis.call('HMGET', entries, unpack(keys))
	for i, key in ipairs(keys) do
		if states[i] then
			reply[#reply + 1] = key
			reply[#reply + 1] = states[i]
		end
	end
	reply[2], reply[3] = redis.call('ZSCORE', expiry, keys[#keys]), keys[#keys]
end
return reply
`)
)
