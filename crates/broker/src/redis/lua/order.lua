-- Gives an order the next sequence, keeps or removes its rule, and tells the nodes.
-- KEYS  1 orders  2 rules  3 ends of rules
-- ARGV  1 order  2 the rule's name, or ''  3 '1': keep it, '0': remove it  4 life of the rule in ms, or ''
--       5 the most orders that are kept  6 the most rules  7 channel  8 the message to the nodes
-- Returns sequence and end in ms ('': none). '' as sequence: there are too many rules.
local time = redis.call('TIME')
local us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local ms = math.floor(us / 1000)
local previous = 0
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if last[2] then
  previous = tonumber(last[2])
end
local sequence = string.format('%.0f', math.max(us, previous + 1))
local till = ''
if ARGV[4] ~= '' then
  till = string.format('%.0f', ms + tonumber(ARGV[4]))
end

local over = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', ms), 'LIMIT', 0, 1000)
if #over > 0 then
  redis.call('HDEL', KEYS[2], unpack(over))
  redis.call('ZREM', KEYS[3], unpack(over))
end
local entry = sequence .. ' ' .. string.format('%.0f', previous) .. ' '
  .. (till == '' and '-' or till) .. ' ' .. ARGV[1]
if ARGV[2] ~= '' then
  if ARGV[3] == '1' then
    if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0
      and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[6]) then
      return { '', '' }
    end
    redis.call('HSET', KEYS[2], ARGV[2], entry)
  else
    redis.call('HDEL', KEYS[2], ARGV[2])
  end
  redis.call('ZREM', KEYS[3], ARGV[2])
  if ARGV[3] == '1' and till ~= '' then
    redis.call('ZADD', KEYS[3], till, ARGV[2])
  end
end
redis.call('ZADD', KEYS[1], sequence, entry)
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[5]))
redis.call('PUBLISH', ARGV[7], ARGV[8])
return { sequence, till }
