-- Where a room's stream stands, begun if it has none.
-- ARGV  1 epoch for a new life  2 highest offset seen  3 life of an unused room, s
--       4 '1': a life that begins is a private room's
local epoch, top = standing()
if not epoch then
  epoch, top = ARGV[1], begin(unpack(ARGV))
end
return { epoch, string.format('%d', top) }
