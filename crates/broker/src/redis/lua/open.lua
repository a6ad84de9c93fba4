-- Where a room's stream stands, begun if it has none.
-- KEYS  1 meta  2 stream  3 nonces  4 older nonces  5 tombstones  6 changes of messages
-- ARGV  1 epoch for a new life  2 highest offset seen  3 life of an unused room, s
--       4 '1': a life that begins is a private room's
local epoch, top = begin(KEYS, ARGV[1], ARGV[2], ARGV[3], nil, nil, ARGV[4])
return { epoch, string.format('%.0f', top) }
