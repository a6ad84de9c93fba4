-- Numbers, stores and publishes events of one room, all or none. The work for every message is
-- written without calls to helpers: another call or closure shows in a Redis with 500 messages a
-- second.
-- KEYS  1 meta  2 stream  3 nonces  4 older nonces  5 tombstones  6 changes of messages
--       7 changed rooms  8 rooms that wait for the archive  9 sizes of the partition's streams
--       10 marks of webhooks, if there are any, then for each the rooms that wait for it
-- ARGV  1 channel  2 room  3 epoch that was seen, or ''  4 highest offset seen
--       5 run in which the room has to be reconciled
--       6 names of the webhooks that have to be told, with spaces between them
--       7 who pays for the room if it begins with this: digests of user and address, or '- -'
--       8 number of events, then their digests, then for each: message id, frame without its end;
--       a change of a message has KIND TARGET EPOCH before its id, EPOCH being that of its target
--       ('-': not known), and after its frame what takes the place of its target (see change.lua);
--       KIND is e, d or r, or x where the target is known to be deleted
-- Constants before it: STREAM_LEN, STREAM_BYTES, STREAM_LIFE (s), META_LIFE (s), NONCE_GENERATION (s),
-- and BACKLOG, the stream's length while the archive is behind (0: there is no archive)
-- Returns epoch ('': the room has to be reconciled first), time in ms, then for each event: offset,
-- and 0, 1 if it was stored before, 2 if its target is deleted or not in the room, 3 if the room has
-- more bytes than it may have and takes only deletions
local DIGESTS = 9
-- A stream's size is noted when it has changed by so many bytes.
local NOTE_STEP = 65536
local call = redis.call
local time = call('TIME')
local seconds = tonumber(time[1])
local now = seconds * 1000 + math.floor(tonumber(time[2]) / 1000)
local ms = string.format('%d', now)
local known = call('HMGET', KEYS[1], 'epoch', 'top', 'run', 'generation', 'last', 'archived', 'given',
  'floor', 'noted', 'crowded')
local epoch, top, generation = known[1], tonumber(known[2]), tonumber(known[4])
local previous, archived = known[5], known[6]
local given, floor, noted, crowded = tonumber(known[7] or 0), tonumber(known[8] or 0), known[9], known[10]
-- Refuses to store in an epoch that is older than one that the node has seen, or that ends below
-- it.
local is_reliable = epoch and known[3] == ARGV[5] and top >= tonumber(ARGV[4])
  and (epoch == ARGV[3] or ARGV[3] == '' or number_of(epoch) > number_of(ARGV[3]))
if not is_reliable then
  return { '', ms }
end

local count = tonumber(ARGV[8])
local newer = call('HMGET', KEYS[3], unpack(ARGV, DIGESTS, DIGESTS + count - 1))
local older = call('HMGET', KEYS[4], unpack(ARGV, DIGESTS, DIGESTS + count - 1))
local keep = STREAM_LEN
if BACKLOG > 0 then
  -- Events that the archive does not have yet are kept, up to a bound.
  archived = archived or call('HGET', KEYS[1], 'base') or '0'
  keep = math.max(keep, math.min(top + count - tonumber(archived), BACKLOG))
end
local before = string.format('%d', top)
local first = string.format('%d', top + 1)
local reply = { epoch, ms }
local fresh = {}   -- digest, offset, …, in the form for HSET
local batch = {}   -- digest → offset, for a nonce twice in one call
local packet = { '' }   -- its first line is set last, when the number of events is known
local last
local i = DIGESTS + count
for n = 1, count do
  local digest, message, open = ARGV[DIGESTS + n - 1], ARGV[i], ARGV[i + 1]
  i = i + 2
  local kind, target, target_epoch, instead
  if string.find(message, ' ', 1, true) then
    kind, target, target_epoch, message = string.match(message, '^(%a) (%d+) (%S+) (.*)$')
    instead = ARGV[i]
    i = i + 1
  end
  local known, outcome = newer[n] or older[n] or batch[digest], 1
  if not known and kind and (kind == 'x' or is_deleted(target)
      or (target_epoch ~= epoch and target_epoch ~= '-' and is_foreign(target, target_epoch))) then
    known, outcome = '0', 2
  elseif not known and crowded and kind ~= 'd' then
    known, outcome = '0', 3
  elseif not known then
    top = top + 1
    local offset = string.format('%d', top)
    local seal = ',"ts":' .. ms .. ',"epoch":"' .. epoch .. '","offset":' .. offset .. '}'
    local frame = open .. seal
    local id = offset .. '-0'
    local added
    local before_it = string.format('%d', given)
    if kind == 'e' then
      added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', keep, id, 'e', epoch, 'm', message, 'f', frame, 'g',
        string.match(instead, '^[^\n]*') .. seal, 'b', before_it)
    else
      added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', keep, id, 'e', epoch, 'm', message, 'f', frame,
        'b', before_it)
    end
    if type(added) == 'table' then
      if last then
        error(added.err)
      end
      -- The stream goes on above the noted top, as after a copy key by key. Nothing is stored yet.
      return { '', ms }
    end
    given = given + #frame + EVENT_OVERHEAD
    if kind then
      given = given + #instead
      change(kind, target, instead, offset, ms, keep)
    end
    batch[digest] = offset
    fresh[#fresh + 1] = digest
    fresh[#fresh + 1] = offset
    local size = #packet
    packet[size + 1], packet[size + 2] = message .. ' ' .. #frame .. '\n', frame
    last, known, outcome = message, offset, 0
  end
  reply[#reply + 1] = known
  reply[#reply + 1] = outcome
end
if not last then
  return reply
end

-- Times to live are renewed only when the nonces' generation turns. Once in 15 minutes is often
-- enough, unless a life is short itself.
local turn = seconds - generation >= NONCE_GENERATION
if turn then
  call('UNLINK', KEYS[4])
  if call('EXISTS', KEYS[3]) == 1 then
    call('RENAME', KEYS[3], KEYS[4])
  end
  call('HSET', KEYS[1], 'generation', time[1])
end
call('HSET', KEYS[3], unpack(fresh))
call('HSET', KEYS[1], 'top', string.format('%d', top), 'last', last, 'given', string.format('%d', given))
if given - floor > STREAM_BYTES then
  -- Perhaps less, since the oldest have left it otherwise.
  local needed = BACKLOG > 0 and math.min(top, tonumber(archived) + 1) or top
  floor = fit(KEYS[2], KEYS[5], given, STREAM_BYTES, needed)
  call('HSET', KEYS[1], 'floor', string.format('%d', floor))
end
if not noted or math.abs(given - floor - tonumber(noted)) >= NOTE_STEP then
  -- Whoever began the room pays for it as long as the room has its place.
  local payers = call('HGET', KEYS[1], 'payers') or (before == '0' and ARGV[7]) or '- -'
  local size = string.format('%d', given - floor)
  call('HSET', KEYS[9], ARGV[2], size .. ' ' .. payers .. (crowded and ' crowded' or ''))
  call('HSET', KEYS[1], 'noted', size, 'payers', payers)
end
call('ZADD', KEYS[7], ms, ARGV[2])
if BACKLOG > 0 then
  call('ZADD', KEYS[8], 'NX', ms, ARGV[2])
end
if ARGV[6] ~= '' then
  note(hooks_of(ARGV[6], 11, KEYS[10], META_LIFE), KEYS[1], ARGV[2], before, nil, ms)
end
if turn or STREAM_LIFE < 2 * NONCE_GENERATION then
  call('EXPIRE', KEYS[3], 2 * NONCE_GENERATION)
  -- Events that wait for the archive must not expire before they are archived.
  local life = BACKLOG > 0 and META_LIFE or STREAM_LIFE
  for key = 2, 6 do
    if key ~= 3 and key ~= 4 then
      call('EXPIRE', KEYS[key], life)
    end
  end
  if call('TTL', KEYS[1]) ~= -1 then
    call('EXPIRE', KEYS[1], META_LIFE)
  end
  call('ZREMRANGEBYSCORE', KEYS[7], '-inf', now - STREAM_LIFE * 1000)
end
packet[1] = '1 E ' .. epoch .. ' ' .. first .. ' ' .. #fresh / 2 .. ' ' .. ms .. ' ' .. (previous or '-') .. '\n'
call('PUBLISH', ARGV[1], table.concat(packet))
return reply
