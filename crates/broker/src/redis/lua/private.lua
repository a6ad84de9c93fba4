-- Notes whether only its members may be in a room, and has all nodes look at who is in it. A room with a
-- place counts the change, so that a node that misses the word finds out.
-- KEYS  1 meta  2 rooms by their newest change
-- ARGV  1 channel  2 '1': it is private, '0': it is not, '': as before  3 what nodes are told  4 room
if redis.call('HEXISTS', KEYS[1], 'epoch') == 1 then
  if ARGV[2] == '1' then
    redis.call('HSET', KEYS[1], 'private', '1')
  end
  redis.call('HINCRBY', KEYS[1], 'access', 1)
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[2],
    string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)), ARGV[4])
end
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], 'private')
end
redis.call('PUBLISH', ARGV[1], ARGV[3])
