"""How a report looks: on screen and on paper."""

STYLE = """
:root { color-scheme: light; font: 16px/1.45 system-ui, sans-serif; color: #1b1b1b; background: #fff; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
.notice { border: 2px solid #8a3b00; padding: .6rem 1rem; font-weight: 700; font-size: 1.15rem; }
h2 { border-bottom: 1px solid #767676; margin-top: 2.2rem; }
article { break-inside: avoid; margin: 1.2rem 0; }
.finding { display: flex; gap: 1.2rem; }
.finding img, .finding .gone { flex: none; max-height: 20rem; max-width: 45%; }
.note { white-space: pre-wrap; }
.asked { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; }
figure img { max-height: 15rem; border: 1px solid #767676; display: block; }
figcaption code { display: block; }
.chips { list-style: none; display: flex; flex-wrap: wrap; gap: .4rem; padding: 0; }
.chips li { border: 1px solid #1a5fb4; border-radius: 1rem; padding: 0 .7rem; }
.chips li.unwanted { border-color: #a51d2d; border-style: dashed; }
.leads { list-style: none; padding: 0; display: grid; gap: .8rem; }
.leads { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
.leads li { display: flex; flex-direction: column; }
.leads img { height: 8rem; max-width: 100%; object-fit: contain; align-self: flex-start; }
.gone { height: 8rem; width: 5rem; border: 1px dashed #767676; display: grid; place-items: center; text-align: center; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt { color: #545454; }
dd { margin: 0; }
table { border-collapse: collapse; }
th, td { border: 1px solid #767676; padding: .2rem .6rem; text-align: left; }
@media (max-width: 40rem) {
 .finding { flex-direction: column; }
 dl { grid-template-columns: 1fr; }
 dd { margin-bottom: .4rem; }
}
"""
