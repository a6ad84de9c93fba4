-- Carries out a node's decision about a room's stream: the stream is confirmed, or a new epoch
-- begins. Does nothing if the stream is no longer the one that the node looked at.
-- KEYS  1 meta  2 stream  3 nonces  4 older nonces  5 tombstones  6 changes of messages
--       7 changed rooms  8 rooms that wait for the archive  9 sizes of streams, not used  10 run
-- ARGV  1 channel  2 room  3 run that was found, or ''  4 epoch that was found, or ''
--       5 '1': the room counts as reconciled in this run  6 '1': the room is private
--       7 'confirm' or 'begin'
--       8 confirm: '1': the stream ends above the noted top, which is raised to its end
--         begin: the highest known offset
--       9 number of the newest known epoch  10 suffix of the new epoch's name
--       11 first offset of the events to move into the new epoch, or ''
--       12 the lost events: 'EPOCH FIRST LAST', or ''
--       13 life of an unused room, s  14 of a used one  15 '0': there is no archive
-- Returns 1 if it was done, then epoch and top.
local LOST_KEPT = 8
local found = redis.call('HMGET', KEYS[1], 'epoch', 'top', 'base', 'archived', 'lost')
if (redis.call('GET', KEYS[10]) or '') ~= ARGV[3] or (found[1] or '') ~= ARGV[4] then
  return { 0, '', '0' }
end
local epoch, top = found[1], tonumber(found[2] or '0')
local last, last_offset = end_of_stream(KEYS[2])

local function ms_now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function new_epoch(ms)
  local newest = math.max(tonumber(ARGV[9]), epoch and number_of(epoch) or 0)
  local number, digits = math.max(ms, newest + 1), ''
  while number > 0 do
    local digit = number % 36
    digits = string.sub('0123456789abcdefghijklmnopqrstuvwxyz', digit + 1, digit + 1) .. digits
    number = (number - digit) / 36
  end
  return string.rep('0', 9 - #digits) .. digits .. '-' .. ARGV[10]
end

-- Begins a new epoch. Events of older epochs keep their places, unless these belong to other
-- events.
local function begin()
  local ms = ms_now()
  local base = math.max(top, last_offset, tonumber(ARGV[8]))
  local before = found[1]
  epoch, top = new_epoch(ms), base
  -- A room with members has no time to live, and must not get one.
  local has_members = redis.call('TTL', KEYS[1]) == -1
  if before and not found[4] then
    redis.call('HSET', KEYS[1], 'archived', found[3] or '0')
  end
  redis.call('HDEL', KEYS[1], 'last')
  if ARGV[11] ~= '' then
    local newest
    top, newest = carry(tonumber(ARGV[11]), epoch, base)
    if newest then
      redis.call('HSET', KEYS[1], 'last', newest)
    end
  end
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'base', string.format('%d', base),
    'top', string.format('%d', top))
  redis.call('HSETNX', KEYS[1], 'generation', 0)
  if ARGV[12] ~= '' then
    local lost = { ARGV[12] }
    for earlier in string.gmatch(found[5] or '', '%S+ %S+ %S+') do
      if #lost < LOST_KEPT then
        lost[#lost + 1] = earlier
      end
    end
    redis.call('HSET', KEYS[1], 'lost', table.concat(lost, ' '))
  end
  if not has_members then
    redis.call('EXPIRE', KEYS[1], top > 0 and ARGV[14] or ARGV[13])
  end
  if base == 0 then
    -- No client has followed a room in which nothing has happened.
    return
  end
  redis.call('ZADD', KEYS[7], string.format('%d', ms), ARGV[2])
  if ARGV[15] ~= '0' then
    redis.call('ZADD', KEYS[8], 'NX', string.format('%d', ms), ARGV[2])
  end
  redis.call('PUBLISH', ARGV[1], '1 R ' .. epoch .. ' ' .. string.format('%d', base))
end

if ARGV[7] == 'begin' then
  begin()
elseif ARGV[8] == '1' and last_offset > top then
  top = last_offset
  redis.call('HSET', KEYS[1], 'top', string.format('%d', top))
  if last and tonumber(string.match(last[1], '^%d+')) == top then
    redis.call('HSET', KEYS[1], 'last', last[2][4])
  else
    redis.call('HDEL', KEYS[1], 'last')
  end
end
if ARGV[6] == '1' then
  redis.call('HSET', KEYS[1], 'private', '1')
end
if ARGV[5] == '1' then
  redis.call('HSET', KEYS[1], 'run', ARGV[3], 'reconciled', string.format('%d', top))
end
return { 1, epoch, string.format('%d', top) }
