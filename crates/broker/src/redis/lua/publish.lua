-- Numbers, stores and publishes events of one room, all or none.
-- KEYS  1 meta  2 stream  3 nonces  4 older nonces  5 tombstones  6 changes of messages
--       7 changed rooms  8 rooms that wait for the archive
--       9 marks of webhooks, if there are any, then for each the rooms that wait for it
-- ARGV  1 channel  2 room  3 epoch for a new life  4 highest offset seen  5 stream length
--       6 stream life, s  7 meta life, s  8 nonce generation, s  9 the epoch of 4, or ''
--       10 '0': begin no life  11 stream length while the archive is behind; '0': no archive
--       12 '1': a life that begins is a private room's
--       13 names of the webhooks that have to be told, with spaces between them
--       then for each event: digest, message id, frame without its end; a change of a message has
--       KIND TARGET before its id, and after its frame its or its target's tombstone ('' if none);
--       KIND is e, d or r, or x where the target is known to be deleted
-- Returns epoch ('': a life would have to begin), time in ms, then for each event: offset, and 0,
-- 1 if it was stored before, 2 if its target is deleted
local FIRST = 14
local time = redis.call('TIME')
local seconds = tonumber(time[1])
local ms = string.format('%.0f', seconds * 1000 + math.floor(tonumber(time[2]) / 1000))
local life = { unpack(KEYS, 1, 6) }
local epoch, top, generation, previous, archived =
  begin(life, ARGV[3], ARGV[4], ARGV[6], ARGV[9], ARGV[10], ARGV[12])
if not epoch then
  return { '', ms }
end

local function sealed(open, offset)
  return open .. ',"ts":' .. ms .. ',"epoch":"' .. epoch .. '","offset":' .. offset .. '}'
end

local function is_deleted(target)
  return redis.call('ZCOUNT', KEYS[5], target, target) > 0
end

-- A tombstone takes the place of what leaves the stream.
local function bury(offset, message, tombstone)
  redis.call('XDEL', KEYS[2], offset .. '-0')
  redis.call('ZADD', KEYS[5], offset, message .. ' ' .. tombstone)
end

local function bury_with_edits(target, tombstone)
  local message = string.match(tombstone, '"message":"([^"]+)"') or '-'
  bury(target, message, tombstone)
  for _, change in ipairs(redis.call('ZRANGEBYSCORE', KEYS[6], target, target)) do
    local entry = redis.call('XRANGE', KEYS[2], change .. '-0', change .. '-0')[1]
    if entry and entry[2][7] == 'g' then
      bury(change, entry[2][4], entry[2][8])
      redis.call('ZREM', KEYS[6], change)
    end
  end
end

-- What is said of messages that have left the stream is of no use to whoever reads it.
local function trim(key, of_member)
  local count = redis.call('ZCARD', key)
  -- Seldom: it looks at all of them.
  if count <= tonumber(ARGV[5]) + 1000 or count % 500 ~= 0 then
    return
  end
  local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  local floor = first and tonumber(string.match(first[1], '^%d+')) or top
  if not of_member then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. string.format('%.0f', floor))
    return
  end
  for _, change in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    if tonumber(change) < floor then
      redis.call('ZREM', key, change)
    end
  end
end

local events = {}
local digests = {}
local i = FIRST
while i <= #ARGV do
  local event = { digest = ARGV[i], message = ARGV[i + 1], frame = ARGV[i + 2] }
  i = i + 3
  local kind, target, message = string.match(event.message, '^(%a) (%d+) (.*)$')
  if kind then
    event.kind, event.target, event.message, event.tombstone = kind, target, message, ARGV[i]
    i = i + 1
  end
  events[#events + 1] = event
  digests[#digests + 1] = event.digest
end
local newer = redis.call('HMGET', KEYS[3], unpack(digests))
local older = redis.call('HMGET', KEYS[4], unpack(digests))

local keep = tonumber(ARGV[5])
if ARGV[11] ~= '0' then
  -- What the archive does not have yet stays, up to a bound.
  local base = archived or tonumber(redis.call('HGET', KEYS[1], 'base') or '0')
  keep = math.max(keep, math.min(top + #events - base, tonumber(ARGV[11])))
end
local reply = { epoch, ms }
local fresh = {}   -- digest, offset, … as HSET takes them
local batch = {}   -- digest → offset, for a nonce twice in one call
local packet = {}
local first = top + 1
local last
for n, event in ipairs(events) do
  local known = newer[n] or older[n] or batch[event.digest]
  local outcome = 0
  if known then
    outcome = 1
  elseif event.kind == 'x' or (event.kind and is_deleted(event.target)) then
    known, outcome = '0', 2
  end
  if outcome == 0 then
    top = top + 1
    local offset = string.format('%.0f', top)
    local frame = sealed(event.frame, offset)
    local entry = { 'e', epoch, 'm', event.message, 'f', frame }
    if event.kind then
      redis.call('ZADD', KEYS[6], event.target, offset)
    end
    if event.kind == 'e' then
      entry[7], entry[8] = 'g', sealed(event.tombstone, offset)
    end
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', keep, offset .. '-0', unpack(entry))
    if event.kind == 'd' then
      bury_with_edits(event.target, event.tombstone)
    end
    if event.kind then
      trim(KEYS[5], false)
      trim(KEYS[6], true)
      redis.call('EXPIRE', KEYS[5], ARGV[6])
      redis.call('EXPIRE', KEYS[6], ARGV[6])
    end
    batch[event.digest] = offset
    last = event.message
    fresh[#fresh + 1] = event.digest
    fresh[#fresh + 1] = offset
    packet[#packet + 1] = event.message .. ' ' .. #frame .. '\n' .. frame
    known = offset
  end
  reply[#reply + 1] = known
  reply[#reply + 1] = outcome
end
if #fresh == 0 then
  return reply
end

-- Lives are renewed with the nonces' generations only: once in 15 minutes is often enough, unless
-- they are short themselves.
local turn = seconds - generation >= tonumber(ARGV[8])
local renewal = turn or tonumber(ARGV[6]) < 2 * tonumber(ARGV[8])
if turn then
  redis.call('UNLINK', KEYS[4])
  if redis.call('EXISTS', KEYS[3]) == 1 then
    redis.call('RENAME', KEYS[3], KEYS[4])
  end
  redis.call('HSET', KEYS[1], 'generation', seconds)
end
redis.call('HSET', KEYS[3], unpack(fresh))
redis.call('HSET', KEYS[1], 'top', string.format('%.0f', top), 'last', last)
redis.call('ZADD', KEYS[7], ms, ARGV[2])
if ARGV[11] ~= '0' then
  redis.call('ZADD', KEYS[8], 'NX', ms, ARGV[2])
end
if ARGV[13] ~= '' then
  local before = string.format('%.0f', first - 1)
  note(hooks_of(ARGV[13], 10, KEYS[9], ARGV[7]), KEYS[1], ARGV[2], before, nil, ms)
end
if renewal then
  redis.call('EXPIRE', KEYS[3], 2 * tonumber(ARGV[8]))
  -- What waits for the archive does not expire before it is there.
  local ttl = ARGV[11] ~= '0' and ARGV[7] or ARGV[6]
  for _, key in ipairs({ KEYS[2], KEYS[5], KEYS[6] }) do
    redis.call('EXPIRE', key, ttl)
  end
  if redis.call('TTL', KEYS[1]) ~= -1 then
    redis.call('EXPIRE', KEYS[1], ARGV[7])
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[7], '-inf', seconds * 1000 - tonumber(ARGV[6]) * 1000)
end
redis.call('PUBLISH', ARGV[1], '1 E ' .. epoch .. ' ' .. string.format('%.0f', first) .. ' '
  .. #packet .. ' ' .. ms .. ' ' .. previous .. '\n' .. table.concat(packet))
return reply
