-- Shared by the scripts below. KEYS of all of them begin with
--       1 meta  2 stream  3 nonces  4 older nonces  5 tombstones  6 changes of messages

-- Where the room's stream stands: epoch, top offset, generation of nonces, last message id, how far
-- it is archived. Nothing where a life has to begin: the room has none, or it ends below what was
-- seen in it, since Redis came back with less than it had.
local function standing(seen_epoch, seen)
  local known = redis.call('HMGET', KEYS[1], 'epoch', 'top', 'generation', 'last', 'archived')
  local epoch, top = known[1], tonumber(known[2])
  if epoch and not (epoch == seen_epoch and top < tonumber(seen)) then
    return epoch, top, tonumber(known[3]), known[4], known[5]
  end
end

-- A new life starts above everything known, so that offsets never go back, and without what an
-- older life left behind. Returns its top offset.
-- private = '1': only its members may be in the room, as the archive says
local function begin(epoch, seen, ttl, private)
  local top = tonumber(seen)
  local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
  if last then
    top = math.max(top, tonumber(string.match(last[1], '^%d+')))
  end
  -- A room with members has no time to live, and keeps none.
  local kept = redis.call('TTL', KEYS[1]) == -1
  redis.call('UNLINK', unpack(KEYS, 2, 6))
  local base = string.format('%d', top)
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'top', base, 'base', base, 'generation', 0)
  redis.call('HDEL', KEYS[1], 'last', 'archived')
  if private == '1' then
    redis.call('HSET', KEYS[1], 'private', '1')
  end
  if not kept then
    redis.call('EXPIRE', KEYS[1], ttl)
  end
  return top
end
