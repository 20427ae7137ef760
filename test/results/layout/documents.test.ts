import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type TextPage, toAlto, toHocr } from '../../../src/results/layout/documents.ts';
import { readingOrder } from '../../../src/results/layout/reading_order.ts';
import type { Quad } from '../../../src/results/types.ts';

const quads: Quad[] = [
  { text: 'Fish & "chips"', quad: [10.25, 10, 60, 10, 60, 30, 10.25, 30], score: 0.876 },
  { text: '<5>', quad: [66, 10, 90.5, 10, 90.5, 30, 66, 30] },
  { text: 'up\u0000', quad: [150, 90, 150, 40, 170, 40, 170, 90], score: 0.5 },
];
const page: TextPage = { image: 'a "b".png', ...readingOrder(quads, { width: 200, height: 100 }) };

// Written by hand from the specifications: hOCR 1.2 and the schema of ALTO 4.4.
test('hOCR', () => {
  assert.is(
    toHocr([page]),
    `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml">
  <head>
    <title></title>
    <meta http-equiv="Content-Type" content="text/html;charset=utf-8"/>
    <meta name="ocr-system" content="florence2-tfjs"/>
    <meta name="ocr-capabilities" content="ocr_page ocr_carea ocr_line ocrx_word"/>
  </head>
  <body>
    <div class="ocr_page" id="page_1" title="image &quot;a \\&quot;b\\&quot;.png&quot;; bbox 0 0 200 100; ppageno 0">
      <div class="ocr_carea" id="block_1_1" title="bbox 10 10 91 30">
        <span class="ocr_line" id="line_1_1_1" title="bbox 10 10 91 30">
          <span class="ocrx_word" id="word_1_1_1_1" title="bbox 10 10 60 30; x_wconf 88">Fish &amp; &quot;chips&quot;</span>
          <span class="ocrx_word" id="word_1_1_1_2" title="bbox 66 10 91 30">&lt;5&gt;</span>
        </span>
      </div>
      <div class="ocr_carea" id="block_1_2" title="bbox 150 40 170 90">
        <span class="ocr_line" id="line_1_2_1" title="bbox 150 40 170 90; textangle 90">
          <span class="ocrx_word" id="word_1_2_1_1" title="bbox 150 40 170 90; x_wconf 50">up\ufffd</span>
        </span>
      </div>
    </div>
  </body>
</html>
`,
  );
  const both = toHocr([page, { ...page, blocks: [] }]);
  assert.match(both, /id="page_2" title="image [^>]* bbox 0 0 200 100; ppageno 1"/);
});

test('ALTO', () => {
  assert.is(
    toAlto(page),
    `<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#">
  <Description>
    <MeasurementUnit>pixel</MeasurementUnit>
    <sourceImageInformation>
      <fileName>a &quot;b&quot;.png</fileName>
    </sourceImageInformation>
  </Description>
  <Layout>
    <Page ID="page_1" PHYSICAL_IMG_NR="1" WIDTH="200" HEIGHT="100">
      <PrintSpace HPOS="0" VPOS="0" WIDTH="200" HEIGHT="100">
        <TextBlock ID="block_1" HPOS="10.25" VPOS="10" WIDTH="80.25" HEIGHT="20">
          <TextLine ID="line_1_1" HPOS="10.25" VPOS="10" WIDTH="80.25" HEIGHT="20">
            <Shape>
              <Polygon POINTS="10.25,10 90.5,10 90.5,30 10.25,30"/>
            </Shape>
            <String ID="string_1_1_1" HPOS="10.25" VPOS="10" WIDTH="49.75" HEIGHT="20" WC="0.88" CONTENT="Fish &amp; &quot;chips&quot;"/>
            <SP/>
            <String ID="string_1_1_2" HPOS="66" VPOS="10" WIDTH="24.5" HEIGHT="20" CONTENT="&lt;5&gt;"/>
          </TextLine>
        </TextBlock>
        <TextBlock ID="block_2" HPOS="150" VPOS="40" WIDTH="20" HEIGHT="50" ROTATION="90">
          <TextLine ID="line_2_1" HPOS="150" VPOS="40" WIDTH="20" HEIGHT="50">
            <Shape>
              <Polygon POINTS="150,90 150,40 170,40 170,90"/>
            </Shape>
            <String ID="string_2_1_1" HPOS="150" VPOS="40" WIDTH="20" HEIGHT="50" WC="0.5" CONTENT="up\ufffd"/>
          </TextLine>
        </TextBlock>
      </PrintSpace>
    </Page>
  </Layout>
</alto>
`,
  );
});

test.run();
