package redisrevocation

import "github.com/redis/go-redis/v9"

// A script is one step in Redis. No client sees half of it, and its changes go to
// the append-only file and to the replicas as one MULTI/EXEC. Redis undoes nothing
// when a script fails midway. So each one begins with prelude. It fails before the
// first write if the user lacks a right, or if a key has another type.
//
// Keys: log is a stream of the changes, and entries a hash with
//
//	epoch   a name for the data: the salt and a random text; another one after keys
//	        were lost
//	seq     the number of the last change
//	last    the id of the last line of the log: the number and a random mark, so
//	        that two changes with one number, before and after a loss, differ
//	fields  how many fields the hash has, so that one that went is noticed
//	salt    random
//
// and with up to 1,048,576 buckets of entries. An entry is a line of its bucket: its
// key and its state. The name of the bucket is the beginning of a hash of the salt and
// the key. So the buckets are equally long, also if somebody chooses names of users.
// Redis finds a bucket of ten entries as fast as one entry, so ten million entries are
// loaded in a third of the time that a field for each would take. In exchange a change
// of one entry writes its bucket.
//
// A state is Until and Expires, 20 digits each, and the identity, which is JSON without
// line breaks. The times are compared as text, because a number in Lua has only 53
// bits. A removal is remembered for a day as an entry whose key is "removed:" and the
// mark.
//
// The first arguments of every script are a name for a new epoch, where the caller
// is, epoch and last, and '1' for a caller that must not write. Redis may have lost
// what the caller has: it was emptied, an old copy was restored, or a replica took
// over that did not have everything. Then the caller's last line is not in the log.
const prelude = `
local entries, log = KEYS[1], KEYS[2]
local fresh, known, klast, readonly = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'

-- Redis checks the right to a command before its arguments. So each call tells
-- whether there is the right, and none has an effect. A replica, which may lag
-- behind, refuses a write even without effect. Redis checks its limit of memory only
-- before the first write of a script, and HDEL is one that needs no memory.
local missing = ''
local function probe(command, ...)
	local r = redis.pcall(command, ...)
	local err = type(r) == 'table' and r.err or ''
	if string.find(err, 'NOPERM', 1, true) or string.find(err, "can't run this command", 1, true) then
		missing = missing .. ' +' .. string.lower(command)
	end
	return err
end
probe('HMGET', entries, '-')
probe('HLEN', entries)
probe('HSCAN', entries, 0, 'COUNT', 1)
probe('XLEN', log)
probe('XRANGE', log, '-', '+', 'COUNT', 1)
local replica, full = false, false
if not readonly then
	full = string.find(probe('HSET', entries, 'no', 'value', 'for this'), 'OOM', 1, true)
	replica = string.find(probe('HDEL', entries, '-'), 'READONLY', 1, true)
	probe('HGET', entries, '-')
	probe('XADD', log, 'no-id', 'field', 'value')
	probe('TIME')
	if redis.acl_check_cmd and not redis.acl_check_cmd('DEL', log) then missing = missing .. ' +del' end
end
if missing ~= '' then return redis.error_reply('NOPERM the user lacks rights:' .. missing) end
if replica then return redis.error_reply('READONLY this is a replica') end

local m = redis.call('HMGET', entries, 'epoch', 'seq', 'last', 'fields', 'salt')
local epoch, seq, last, fields = m[1], tonumber(m[2] or '0'), m[3] or '0-0', tonumber(m[4] or '0')
local salt = m[5] or string.match(epoch or '', '^(%w+)%-')
local have, lines = redis.call('HLEN', entries), redis.call('XLEN', log)

-- Writes down where the log is, and how many fields there are.
local function note()
	redis.call('HSET', entries, 'seq', string.format('%.0f', seq), 'last', last, 'fields', redis.call('HLEN', entries))
end

-- Begins a new epoch. DEL comes first, because Redis before 7 cannot tell earlier
-- whether there is the right to it.
local function renew(restored)
	if readonly then
		epoch = (epoch or '') .. '?' -- until a caller that writes has begun one
		return
	end
	if restored then redis.call('DEL', log) end
	if not salt then -- the buckets of the entries are unknown
		redis.call('DEL', entries)
		salt = fresh
	end
	epoch = salt .. '-' .. fresh
	redis.call('HSET', entries, 'epoch', epoch, 'salt', salt, 'seq', '', 'last', '', 'fields', '')
	note()
end

if not epoch or not seq or string.match(last, '^(%d+)%-%d+$') ~= string.format('%.0f', seq) then
	seq, last = 0, '0-0'
	renew(true)
elseif have ~= fields then -- one was deleted
	renew(false)
elseif lines > 0 then
	local newest = redis.call('XRANGE', log, last, '+', 'COUNT', 2)
	if #newest ~= 1 or newest[1][1] ~= last then renew(true) end -- one key alone was restored
end

-- Entries that have expired before are deleted. It has 20 digits, as Expires has.
local due = ''

-- Sets due by the earlier one of Redis's clock and the caller's. So a clock that jumps
-- ahead alone deletes nothing.
local function expire(now, keptLonger)
	due = string.format('%020.0f', math.min(redis.call('TIME')[1], now) - keptLonger)
end

-- Whether a line of a bucket may have expired. It is ten times as fast as alive.
local function stale(text)
	local space = string.find(text, ' ', 1, true)
	while space do
		if string.sub(text, space + 21, space + 40) < due then return true end
		local line = string.find(text, '\n', space + 41, true)
		space = line and string.find(text, ' ', line, true)
	end
	return false
end

local digits = string.rep('%d', 20)
local times = '^\n%S+ ' .. digits .. '(' .. digits .. ')'

-- Returns the lines of a bucket that have not expired.
local function alive(text)
	if not stale(text) then return text end
	return (string.gsub(text, '\n[^\n]*', function(line)
		local expires = string.match(line, times)
		if expires and expires < due then return '' end
	end))
end

local function save(bucket, text)
	if text == '' then redis.call('HDEL', entries, bucket) else redis.call('HSET', entries, bucket, text) end
end

-- Returns the name of an entry's bucket, the other lines of it, and the entry's state.
local function find(key)
	local bucket = string.sub(redis.sha1hex(salt .. key), 1, 5)
	local text = redis.call('HGET', entries, bucket) or ''
	local from = string.find(text, '\n' .. key .. ' ', 1, true)
	if not from then return bucket, text, nil end
	local to = string.find(text, '\n', from + 1, true) or #text + 1
	return bucket, string.sub(text, 1, from - 1) .. string.sub(text, to), string.sub(text, from + #key + 2, to - 1)
end

local function put(key, state)
	local bucket, others = find(key)
	save(bucket, alive(others) .. '\n' .. key .. ' ' .. state)
end

local function delete(key)
	local bucket, others, state = find(key)
	if state then save(bucket, others) end
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
	local _, old
	if removal == '' then _, _, old = find(key) end
	if old then
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
		delete(key)
		key = removal
	end
	put(key, state)
	seq, last = seq + 1, id
	note()
	reply[2], reply[4][#reply[4] + 1] = id, {id, line}
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
if full then return redis.error_reply('OOM the limit of memory, maxmemory, is reached') end
expire(ARGV[13], ARGV[14])
change(reply, ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12])
return reply
`)

	// healScript makes changes of entries and returns an answer with their lines, as
	// writeScript does. It leaves out an entry if the answer has a line for it: it was
	// removed, or another instance has been faster. Further arguments: the most lines;
	// how long the log is; key, until, expires, identity and mark of each entry.
	healScript = redis.NewScript(prelude + `
local reply = answer(ARGV[5])
if reply[3] == '0' or #reply[4] >= tonumber(ARGV[5]) then return reply end
if full then return redis.error_reply('OOM the limit of memory, maxmemory, is reached') end
local changed = {}
for _, line in ipairs(reply[4]) do changed[line[2][4]] = line[2][3] == 'key' end
for i = 7, #ARGV, 5 do
	if not changed[ARGV[i]] then
		change(reply, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], '', ARGV[i + 4], ARGV[6])
	end
end
return reply
`)

	// purgeScript deletes entries that have expired from some buckets, and returns
	// where to go on, as HSCAN does. Further arguments: the caller's clock, how long an
	// entry is kept, where to begin, and how many buckets.
	purgeScript = redis.NewScript(prelude + `
expire(ARGV[5], ARGV[6])
local some = redis.call('HSCAN', entries, ARGV[7], 'COUNT', ARGV[8])
for i = 1, #some[2], 2 do
	local rest = alive(some[2][i + 1])
	if rest ~= some[2][i + 1] then save(some[2][i], rest) end
end
if redis.call('HLEN', entries) ~= have then note() end
return some[1]
`)
)
